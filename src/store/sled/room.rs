//! Room on the disk: new events are refused while there is too little of it.

use std::sync::PoisonError;

use super::base::Base;
use super::{Place, Shared};

/// Opens and closes the door for new events as room on the disk comes and goes.
pub fn look_at_disk(base: &Base, place: &Place, shared: &Shared) {
    let Ok(free) = base.folder.free_bytes() else {
        return;
    };
    let why = (free < place.reserve_bytes).then(|| {
        format!(
            "{free} bytes of disk are free, less than store.reserve_bytes = {}",
            place.reserve_bytes
        )
    });
    if why.is_none()
        && free > place.reserve_bytes + place.ballast_bytes
        && let Err(error) = base.folder.lay_ballast(place.ballast_bytes)
    {
        tracing::warn!(%error, "the ballast cannot be laid");
    }
    let mut full = shared.full.write().unwrap_or_else(PoisonError::into_inner);
    if full.is_some() != why.is_some() {
        if let Some(why) = &why {
            tracing::error!(%why, "new events are refused; draining goes on");
        } else {
            tracing::info!("new events are taken again");
        }
    }
    *full = why;
}
