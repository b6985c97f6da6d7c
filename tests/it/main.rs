mod client;
mod simulation;
