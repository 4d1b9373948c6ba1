//! What training changes, on the host.

use super::architecture::Layout;
use super::start::Member;
use super::trained::Network;
use crate::{Error, Result};

/// Everything that training changes, on the host: what knot adaptation reads and writes.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    /// As [`Layout`] says.
    pub parameters: Vec<f32>,
    /// Adam's moments (m, v) per parameter.
    pub moments: Vec<[f32; 2]>,
    /// Knots (spline, slot).
    pub positions: Vec<f32>,
    /// Knots per spline.
    pub counts: Vec<u32>,
}

impl State {
    /// The members' parameters before the first step.
    ///
    /// # Errors
    /// [`Error::Diverged`] if one is not finite in f32.
    pub(super) fn initial(layout: &Layout, members: &[Member]) -> Result<Self> {
        let mut state = Self {
            parameters: vec![0.0; layout.len()],
            moments: vec![[0.0; 2]; layout.len()],
            positions: vec![0.0; layout.splines() * layout.slots],
            counts: Vec::new(),
        };
        let dense = layout.architecture.dense();
        for (m, member) in members.iter().enumerate() {
            state.parameters[m * dense..(m + 1) * dense].copy_from_slice(&member.dense);
            for (spline, alpha) in member.activations.iter().zip(&member.alphas) {
                let s = state.counts.len();
                state.parameters[layout.alpha(s)] = *alpha;
                state.counts.push(spline.len() as u32);
                for n in 0..spline.len() {
                    state.positions[s * layout.slots + n] = spline.knots()[n] as f32;
                    state.parameters[layout.values(s) + n] = spline.values()[n] as f32;
                }
            }
        }
        finite(state.parameters.clone())?;
        Ok(state)
    }

    /// The parts of trained networks where their free parameters would lie.
    ///
    /// # Errors
    /// [`Error::Data`] if they do not fit the layout.
    pub(super) fn of_networks(layout: &Layout, networks: &[Network]) -> Result<Self> {
        let architecture = &layout.architecture;
        let fits = |n: &Network| n.architecture() == architecture && n.most_knots() <= layout.slots;
        if networks.len() != layout.members || !networks.iter().all(fits) {
            return Err(Error::Data("the networks have another shape than the ensemble".into()));
        }
        let members: Vec<Member> = networks
            .iter()
            .map(|network| {
                let layers = 0..architecture.layers();
                let weights = layers.clone().flat_map(|l| network.weights(l));
                let biases = layers.flat_map(|l| network.biases(l));
                Member {
                    dense: weights.chain(biases).map(|v| *v as f32).collect(),
                    activations: network.activations().to_vec(),
                    alphas: network.scalings().iter().map(|v| *v as f32).collect(),
                }
            })
            .collect();
        Self::initial(layout, &members)
    }

    /// Whether it has the shape of `layout`.
    pub(super) fn fits(&self, layout: &Layout) -> bool {
        let (len, splines) = (layout.len(), layout.splines());
        let lengths = [
            self.parameters.len(),
            self.moments.len(),
            self.positions.len(),
            self.counts.len(),
        ];
        lengths == [len, len, splines * layout.slots, splines]
            && self.counts.iter().all(|c| (2..=layout.slots as u32).contains(c))
    }
}

/// The values, if all are finite.
pub(super) fn finite(values: Vec<f32>) -> Result<Vec<f32>> {
    if values.iter().all(|v| v.is_finite()) {
        return Ok(values);
    }
    Err(Error::Diverged(
        "training produced values that are not finite; lower the learning rates".into(),
    ))
}
