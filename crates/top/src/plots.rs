//! What can be drawn as a curve: groups of scalars that belong on one chart, and each scalar of the registry.

use lsgan_spec::scalars::{self, Scalar};

/// Scalars on one chart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plot {
    pub title: String,
    pub names: Vec<&'static str>,
}

/// The losses, then what D says, then each scalar by itself, in the registry's order.
pub(crate) fn plots() -> Vec<Plot> {
    let together = |title: &str, prefix: &str| {
        let names = scalars::ALL.iter().map(|scalar| scalar.name).filter(|name| name.starts_with(prefix));
        Plot { title: title.to_owned(), names: names.collect() }
    };
    let groups = [together("losses", "loss_"), together("D(x), D(G(z))", "d_")];
    let single = |scalar: &Scalar| {
        let unit = if scalar.unit.is_empty() { String::new() } else { format!(", {}", scalar.unit) };
        Plot { title: format!("{}{unit}", scalar.name), names: vec![scalar.name] }
    };
    let singles: Vec<_> = scalars::ALL
        .iter()
        .filter(|scalar| !groups.iter().any(|group| group.names.contains(&scalar.name)))
        .map(single)
        .collect();
    groups.into_iter().chain(singles).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scalar_of_the_registry_is_on_one_chart() {
        let mut drawn: Vec<_> = plots().into_iter().flat_map(|plot| plot.names).collect();
        let mut all: Vec<_> = scalars::ALL.iter().map(|scalar| scalar.name).collect();
        drawn.sort_unstable();
        all.sort_unstable();
        assert_eq!(drawn, all);
        assert_eq!(plots()[0].names, ["loss_d", "loss_g"]);
    }
}
