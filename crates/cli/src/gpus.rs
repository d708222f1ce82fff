//! How many workers a host starts where they compute on its GPUs: NCCL takes no two of them on one.

/// Of so many workers that are wanted, those that have a place, and a sentence where that is not all of them. `places`: how many
/// GPUs the run can use here; none where it computes on the CPU.
pub fn within(wanted: u32, places: Option<u32>) -> (u32, Option<String>) {
    let Some(places) = places.filter(|places| *places < wanted) else { return (wanted, None) };
    let (gpus, workers) = match places {
        1 => ("1 GPU".to_owned(), "1 worker is".to_owned()),
        n => (format!("{n} GPUs"), format!("{n} workers are")),
    };
    let told = format!(
        "warning: this host has {gpus} for the run, and NCCL takes one worker a GPU: {workers} started, not {wanted}. More \
         virtual ranks on one worker use a GPU as well; `--set compute.device=cpu` computes on the CPU with any number"
    );
    (places, Some(told))
}

#[cfg(test)]
mod tests {
    use super::within;

    #[test]
    fn a_gpu_takes_one_worker_and_a_cpu_any_number() {
        assert_eq!(
            [within(2, None), within(2, Some(2)), within(1, Some(8))],
            [(2, None), (2, None), (1, None)]
        );
        let (started, told) = within(2, Some(1));
        assert_eq!(started, 1);
        let told = told.expect("one of them is not started");
        assert!(
            told.contains("this host has 1 GPU") && told.contains("1 worker is started, not 2"),
            "{told}"
        );
        assert!(within(9, Some(8)).1.is_some_and(|told| told.contains("8 workers are started, not 9")));
    }
}
