//! Least privilege, proven: every right that a role gives is used, none is missed, and nobody reaches a Secret that is not
//! theirs to reach.

mod chart;
mod reach;
mod rights;
mod tour;
