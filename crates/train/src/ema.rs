//! The exponential moving average of G's weights and running statistics.

use crate::widest::widest;

widest! {
    /// average = decay · average + (1 − decay) · current, for every number.
    pub fn ema(decay: f32, average: &mut [f32], current: &[f32]) {
        let share = 1.0 - decay;
        for (average, current) in average.iter_mut().zip(current) {
            *average = decay * *average + share * *current;
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_average_keeps_its_share_and_takes_the_rest() {
        let mut average = vec![1.0, 2.0];
        super::ema(0.75, &mut average, &[5.0, 2.0]);
        assert_eq!(average, [2.0, 2.0]);
    }
}
