//! Parts of a list of work, named by the user or by the variables of a Slurm array.

use knotwork::command::Shard;

#[test]
fn tasks_of_arrays_are_parts_or_errors() {
    let slurm = |id: &str, min: &str, step: Option<&str>, count: Option<&str>| {
        Shard::of_slurm(|name| {
            match name {
                "SLURM_ARRAY_TASK_ID" => Some(id),
                "SLURM_ARRAY_TASK_MIN" => Some(min),
                "SLURM_ARRAY_TASK_STEP" => step,
                "SLURM_ARRAY_TASK_COUNT" => count,
                other => panic!("{other}"),
            }
            .map(str::to_owned)
        })
    };
    let part = |index, count| Some(Shard { index, count });
    assert_eq!(Shard::of_slurm(|_| None).unwrap(), None);
    assert_eq!(slurm("0", "0", None, Some("1")).unwrap(), part(0, 1));
    assert_eq!(slurm("99", "0", Some("1"), Some("100")).unwrap(), part(99, 100));
    assert_eq!(slurm("7", "1", Some("3"), Some("4")).unwrap(), part(2, 4));
    for wrong in [
        slurm("8", "1", Some("3"), Some("4")),
        slurm("9", "1", Some("1"), Some("3")),
        slurm("0", "1", None, Some("3")),
        slurm("1", "1", Some("0"), Some("3")),
        slurm("1", "1", None, None),
        slurm("one", "1", None, Some("3")),
    ] {
        assert_eq!(wrong.unwrap_err().exit_code(), 2);
    }
    for text in ["", "1", "2/2", "-1/2", "1/0", "a/b", "1/2/3"] {
        assert!(text.parse::<Shard>().is_err(), "{text}");
    }
}
