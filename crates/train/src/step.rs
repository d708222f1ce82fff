//! A step, from noise to new weights. Mao et al., arXiv 1611.04076.
//!
//! x are real samples and z is noise. a is D's target for fakes, b its target for real samples, c what G wants D to
//! say of fakes. D and G minimise (eq. 2)
//!
//! ```text
//! L_D = ½ E[(D(x) − b)²] + ½ E[(D(G(z)) − a)²]
//! L_G = ½ E[(D(G(z)) − c)²]
//! ```
//!
//! a = −1, b = 1, c = 0 is eq. 8 (Pearson), a = 0, b = c = 1 is eq. 9 (0-1). `objectives` has these losses and others.
//!
//! Where the updates are simultaneous, G's half reads D's weights of before D's update; else those that it has made. Where D has
//! several updates for each of G's, G's half of the steps between is idle: its sum has a header, with the workers' wishes, and
//! no gradients, and its update does nothing. So every step has two reductions, and a group can form or part after each.
//!
//! A step has two halves: [`discriminator`], then [`generator`]. In each, every virtual rank computes the gradients of
//! its own batch, [`sum`] adds them up, an all-reduce makes that the mean over all virtual ranks on all workers, and
//! [`update`] applies it.

use lsgan_spec::{Half, Step, VirtualRank, scalars};
use tch::Tensor;

use crate::beside::Beside;
use crate::contribution::{End, Sink};
use crate::draws::{Draws, Seen};
use crate::engine::{Arithmetic, Update, UpdateSteps};
use crate::header::ControlWords;
use crate::lane::{Models, Passed, Task};
use crate::lanes::{Lanes, Round};
use crate::layers::Network;
use crate::native;
use crate::objectives::Term;

/// Whether a fake stays in memory, with its graph, from D's half to G's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keep {
    Kept,
    /// G's half computes it again: the same bits, since D's update touches nothing that it depends on.
    ComputedAgain,
}

/// The term of D's half that depends on real samples. G has no part in it: it can be computed while the sum of G's half of
/// the step before still travels, to the same bits.
pub(crate) struct RealTerm {
    loss: Tensor,
    mean: Tensor,
    gradients: Vec<Tensor>,
    statistics: Vec<Tensor>,
    /// What D saw, where a penalty reads it: in memory of its own, since that of the samples is used again.
    seen: Option<Tensor>,
}

/// ½ E[(D(x) − b)²] and its gradients, with those of R1 at the steps that have it.
pub(crate) fn real(models: &Models, step: Step, x: &Tensor, draws: Option<&Draws>) -> RealTerm {
    let seen = models.augmented(x, draws, Seen::Real); // T(x), which is x where nothing is augmented
    let Passed { outputs: on_real, statistics, .. } =
        models.judge((&seen, (draws, Seen::Real)), &models.discriminator, 1); // D(x)
    let (loss, by_outputs) = models.losses().with_gradient(Term::Real, &on_real);
    let weights: Vec<_> = models.discriminator.iter().collect();
    let mut gradients = native::gradients(&on_real, &by_outputs, &weights);
    if let Some(r1) = models.penalties().r1.filter(|r1| r1.is_due(step)) {
        r1.add(models, x, draws, &mut gradients); // γ/2 E[‖∇D(x)‖²]
    }
    let seen = models.penalties().gradient_penalty.map(|_| seen.copy());
    RealTerm { loss, mean: mean(&on_real), gradients, statistics, seen }
}

/// D's half for one virtual rank.
pub(crate) fn discriminator(
    models: &Models,
    rank: VirtualRank,
    mut real: RealTerm,
    (z, draws): (&Tensor, Option<&Draws>),
    keep: Keep,
    sink: Sink,
) -> Passed {
    let half = Half::Discriminator;
    let fake = match keep {
        Keep::Kept => models.generate(z, draws), // G(z)
        Keep::ComputedAgain => tch::no_grad(|| models.generate(z, draws)),
    };
    let seen = models.augmented(&fake.outputs.detach(), draws, Seen::Fake);
    let penalty = models.penalties().gradient_penalty;
    if let (Some(penalty), Some(draws), Some(seen_real)) = (penalty, draws, &real.seen) {
        penalty.add(models, [seen_real, &seen], draws, &mut real.gradients); // λE[(‖∇D(x̂)‖ − 1)²]
    }
    let judged = models.judge((&seen, (draws, Seen::Fake)), &models.discriminator, 2); // D(G(z))
    let on_fake = &judged.outputs;
    let (loss, by_outputs) = models.losses().with_gradient(Term::Fake, on_fake); // ½ E[(D(G(z)) − a)²]
    let means =
        [(scalars::LOSS_D, real.loss + loss), (scalars::D_REAL, real.mean), (scalars::D_FAKE, mean(on_fake))];
    let statistics = real.statistics.into_iter().chain(judged.statistics);
    let mut end = Some(End::new(half, statistics.collect(), &means));
    let held = sink.in_pieces.then_some(&judged.held);
    backward(models.network(half), [on_fake, &by_outputs], &models.discriminator, held, |first, of_fake| {
        let gradients = real.gradients.split_off(first); // ∂L_D/∂θ_D
        native::add_each(&gradients, &of_fake);
        let end = end.take_if(|_| first == 0);
        (sink.give)(models.contribution((half, rank), first, gradients, end));
    });
    fake
}

/// G's half for one virtual rank. D is frozen: no gradients of its weights are computed.
pub(crate) fn generator(models: &Models, rank: VirtualRank, fake: Passed, draws: Option<&Draws>, sink: Sink) {
    let half = Half::Generator;
    let seen = models.augmented(&fake.outputs, draws, Seen::FakeInG);
    let on_fake = models.judge((&seen, (draws, Seen::FakeInG)), &models.frozen, 1).outputs; // D(G(z))
    let (loss, by_outputs) = models.losses().with_gradient(Term::Generator, &on_fake); // L_G
    let means = [
        (scalars::LOSS_G, loss),
        (scalars::D_FAKE_IN_G, mean(&on_fake)),
        (
            scalars::FAKE_STD,
            mean(&fake.outputs.detach().to_kind(tch::Kind::Float).std_dim([0].as_slice(), false, false)),
        ),
    ];
    let mut end = Some(End::new(half, fake.statistics, &means));
    let held = sink.in_pieces.then_some(&fake.held);
    // ∂L_G/∂θ_G
    backward(models.network(half), [&on_fake, &by_outputs], &models.generator, held, |first, gradients| {
        let end = end.take_if(|_| first == 0);
        (sink.give)(models.contribution((half, rank), first, gradients, end));
    });
}

/// The gradients of a loss by `weights`, from its gradient by D's outputs. `take` is told of the first weight: all together;
/// or, where `held` is what the first layers of the network's pieces read, one piece after another as the backward pass
/// comes by them.
fn backward(
    network: &Network,
    [outputs, by_outputs]: [&Tensor; 2],
    weights: &[Tensor],
    held: Option<&Vec<Tensor>>,
    mut take: impl FnMut(usize, Vec<Tensor>),
) {
    let Some(held) = held else {
        return take(0, native::gradients(outputs, by_outputs, &weights.iter().collect::<Vec<_>>()));
    };
    let (mut output, mut by_output) = (outputs, by_outputs.shallow_clone());
    for (index, piece) in network.pieces.iter().enumerate() {
        let weights = &weights[piece.parameters.clone()];
        let read = held.get(index);
        let inputs: Vec<_> = weights.iter().chain(read).collect();
        let mut gradients = native::gradients(output, &by_output, &inputs);
        if let Some(read) = read {
            by_output = gradients.pop().expect("one for each input");
            output = read;
        }
        take(piece.parameters.start, gradients);
    }
}

/// This worker's part of a half: the virtual ranks that it owns, one after another or several on threads of their own.
pub(crate) struct Work<'a> {
    pub half: Half,
    /// The virtual ranks have nothing to compute: [`lsgan_spec::OptimizersSpec::is_idle`].
    pub is_idle: bool,
    pub tasks: Vec<Task>,
    /// This worker's wishes, which ride in the header of the sum.
    pub controls: ControlWords,
    pub beside: &'a mut dyn Beside,
}

/// Σ_v g_v / V over the virtual ranks of this worker, and the same of their batch-norm statistics. Of an idle half, that these
/// virtual ranks are there.
pub(crate) fn sum(engine: &mut impl Arithmetic, lanes: &mut Lanes, work: &mut Work) {
    engine.begin(work.controls);
    if work.is_idle {
        lanes.idle(&work.tasks, |contribution| engine.add(&contribution));
        return engine.end();
    }
    let in_pieces = work.beside.takes_early() && engine.takes_pieces();
    let (mut is_first, is_watched) = (true, work.beside.watches());
    lanes.run(&work.tasks, in_pieces, |contribution, round| {
        if is_watched {
            work.beside.adds();
        }
        engine.add(&contribution);
        if is_watched {
            work.beside.added();
        }
        match (&contribution.end, round) {
            (None, Round::Open) => {}
            (None, Round::Complete) => work.beside.ready(engine.take_ready(contribution.first)),
            (Some(_), _) if std::mem::take(&mut is_first) => work.beside.after_first(),
            (Some(_), _) => {}
        }
    });
    engine.end();
}

/// The update of one network by its mean gradient. On a GPU one kernel does all of it (`native/kernels`).
pub(crate) fn update(engine: &mut impl UpdateSteps, update: &Update) {
    let half = update.half();
    if update.is_idle {
        return; // G's average follows G's updates
    }
    if half == Half::Discriminator {
        engine.keep_discriminator(); // so that the step can be taken back
    }
    engine.optimize(half, update.optimizer, update.norm_max); // Adam: θ ← θ − α·m̂ / (√v̂ + ε)
    engine.running_statistics(half); // r ← 0.9·r + 0.1·batch: D's real samples, then its fakes
    if half == Half::Generator {
        engine.average(update.decay); // θ̄ ← d·θ̄ + (1 − d)·θ
        engine.hold_discriminator(); // simultaneous updates: D as the next step's G half reads it
    }
}

fn mean(x: &Tensor) -> Tensor {
    x.detach().mean(tch::Kind::Float)
}
