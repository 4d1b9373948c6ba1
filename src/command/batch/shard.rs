//! A part of a list of work.

use std::str::FromStr;

use crate::{Error, Result};

/// Every `count`-th item, from `index` on: neighbours, which often take about as long, go to different processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    /// Which part, from 0.
    pub index: usize,
    /// How many parts there are.
    pub count: usize,
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let parts = text.split_once('/').map(|(i, n)| (i.trim().parse(), n.trim().parse()));
        match parts {
            Some((Ok(index), Ok(count))) if index < count => Ok(Self { index, count }),
            Some((Ok(_), Ok(_))) => Err("parts count from 0: of N, the last is N-1/N".into()),
            _ => Err("want I/N, such as 0/8".into()),
        }
    }
}

impl std::fmt::Display for Shard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.index, self.count)
    }
}

impl Shard {
    /// Everything.
    pub const WHOLE: Self = Self { index: 0, count: 1 };

    /// Whether the item at `position`, from 0, belongs to the part.
    pub fn contains(self, position: usize) -> bool {
        position % self.count == self.index
    }

    /// The part that a task of a Slurm array has, if this is one, from the variables that `get` knows: the tasks are numbered from
    /// `SLURM_ARRAY_TASK_MIN` in steps of `SLURM_ARRAY_TASK_STEP`, and there are `SLURM_ARRAY_TASK_COUNT` of them.
    ///
    /// # Errors
    /// [`Error::Usage`] for arrays that are no such sequence, as `--array=1,5,9`: parts would be left out.
    pub fn of_slurm(get: impl Fn(&str) -> Option<String>) -> Result<Option<Self>> {
        let Some(id) = get("SLURM_ARRAY_TASK_ID") else {
            return Ok(None);
        };
        let number = |text: Option<String>| text.and_then(|t| t.trim().parse::<usize>().ok());
        let step = match get("SLURM_ARRAY_TASK_STEP") {
            None => Some(1),
            given => number(given).filter(|step| *step > 0),
        };
        let part = || -> Option<Self> {
            let offset = number(Some(id.clone()))?.checked_sub(number(get("SLURM_ARRAY_TASK_MIN"))?)?;
            let (count, step) = (number(get("SLURM_ARRAY_TASK_COUNT"))?, step?);
            let index = offset / step;
            (offset % step == 0 && index < count).then_some(Self { index, count })
        };
        part().map(Some).ok_or_else(|| {
            Error::Usage(format!(
                "task {id} of the Slurm array cannot be counted from its first in equal steps; name the part with --shard I/N"
            ))
        })
    }
}
