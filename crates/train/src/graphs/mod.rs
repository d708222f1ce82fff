//! `compute.cuda_graphs`: what a half queues for a virtual rank is recorded once, and queued again by one call.
//!
//! A recording reaches from z and the real samples, which lie where the recording has them, to what is added to the
//! sum. A virtual rank has a recording for each half, because its mark and whether it is the first of its sum are part
//! of it. All share their memory, so that a fake is kept from D's half to G's, and are replayed in the order in which
//! they were recorded. All-reduces and updates are not recorded. Where D is computed on the next step's real samples beside
//! G's sum, that has recordings of its own, which come first. Idle halves have nothing to record.
//!
//! **Proved before it is used.** The first steps are queued call by call, which also lets libtorch choose its kernels. Then
//! one step is queued call by call *and* recorded and replayed on the same inputs, and the two sums must have the same
//! bits. Where they differ, or nothing can be recorded, it stays call by call, and a [`Notice`] says why.
//!
//! `library` is libtorch's own recorder, [`crate::rehearsal`] has stand-ins for tests.

mod library;

use lsgan_spec::{Half, Reduction, Step, VirtualRank};
use tch::Tensor;

use crate::contribution::{Contribution, Sink};
use crate::draws::Draws;
use crate::engine::device::DeviceEngine;
use crate::engine::{Arithmetic, Engine, Update, UpdateQueue};
use crate::error::NotApplied;
use crate::lane::{Given, Kept, Lane, Task};
use crate::lanes::Lanes;
use crate::replica::Applied;
use crate::state::State;
use crate::step::{self, Work};
use crate::word::{Word, Words};

pub use library::has_cuda_graphs;
pub(crate) use library::open;

/// Steps that are queued call by call before one is recorded.
const WARM_UP_STEPS: u32 = 2;

/// Records what is queued on a device.
pub(crate) trait Recorder: Send {
    /// Records what `work` queues, instead of doing it. All of a recorder are replayed in the order of recording.
    fn record(&mut self, work: &mut dyn FnMut()) -> Result<Box<dyn Recording>, String>;

    /// The recordings so far are dropped, and those that follow have nothing to do with them.
    fn begin_anew(&mut self);

    /// Frees memory that only kernels outside of the recordings needed.
    fn tidy(&mut self) {}
}

/// What was recorded.
pub(crate) trait Recording: Send {
    /// Queues it. `work` is what was recorded, for stand-ins that have nothing else to do.
    fn replay(&self, work: &mut dyn FnMut()) -> Result<(), String>;
}

/// What to tell the user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// It is not as the run's file asks.
    pub is_warning: bool,
    /// A sentence.
    pub text: String,
}

/// How two sums are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Proof {
    /// Bit by bit.
    SameBits,
    /// Roughly: a device whose kernels are not deterministic has other bits each time.
    Close,
}

/// A device's engine that replays its halves where they are proved.
pub(crate) struct Graphs<W> {
    device: DeviceEngine<W>,
    recorder: Box<dyn Recorder>,
    proof: Proof,
    stage: Stage,
    /// Of D's half and of G's, in the order of the tasks.
    recordings: [Vec<Box<dyn Recording>>; 2],
    /// Of D on real samples, where that is no part of D's half.
    reals: Vec<Box<dyn Recording>>,
    ahead: Ahead,
    inputs: Inputs,
    notice: Option<Notice>,
}

/// Where recordings have their inputs.
struct Inputs {
    /// Its leaves are used by recordings alone: to libtorch a leaf belongs to the stream on which it was used first.
    lane: Lane,
    /// The virtual ranks with their z, in the order of the tasks.
    ranks: Vec<(VirtualRank, Tensor)>,
    real: Option<Tensor>,
    /// What else is drawn, in the order of the tasks.
    draws: Vec<Draws>,
}

/// Whether D is computed on real samples before its half.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ahead {
    /// It was not, since these ranks are computed.
    Never,
    /// It was, for steps that are over.
    Before,
    /// By recordings, for this step.
    Of(Step),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// So many steps were queued call by call.
    WarmingUp(u32),
    /// D's half of this step is proved, G's is not.
    HalfProved(Step),
    /// Both are proved. If D's half of a step was replayed last, its fakes are kept.
    Proved(Option<Step>),
    /// Halves cannot be recorded, or not to the same sums.
    GivenUp,
}

impl<W: Word> Graphs<W> {
    /// `lane` is not used for anything else.
    pub fn new(device: DeviceEngine<W>, recorder: Box<dyn Recorder>, lane: Lane, proof: Proof) -> Self {
        let (stage, recordings) = (Stage::WarmingUp(0), [vec![], vec![]]);
        let inputs = Inputs { lane, ranks: vec![], real: None, draws: vec![] };
        let (reals, ahead) = (vec![], Ahead::Never);
        Self { device, recorder, proof, stage, recordings, reals, ahead, inputs, notice: None }
    }

    fn begin_anew(&mut self) {
        self.stage = Stage::WarmingUp(0);
        self.recordings.iter_mut().chain([&mut self.reals]).for_each(Vec::clear);
        self.inputs.ranks.clear();
        self.inputs.draws.clear();
        self.inputs.real = None;
        self.inputs.lane.forget(Kept::All);
        self.recorder.begin_anew();
    }

    /// The half call by call, and once more recorded and replayed.
    fn prove(&mut self, lanes: &mut Lanes, work: &mut Work, then: Stage) {
        step::sum(&mut self.device, lanes, work);
        let wanted = self.device.copy_of_sum();
        let recorded = self.record_half(work);
        let found = self.device.copy_of_sum();
        match recorded.and_then(|()| self.compare(&wanted, &found)) {
            Ok(()) => {
                self.stage = then;
                if work.half == Half::Generator {
                    self.recorder.tidy();
                    let text = format!(
                        "the halves of {} virtual ranks are replayed as CUDA graphs from here on: one step gave the same \
                         sums both ways",
                        work.tasks.len()
                    );
                    self.notice = Some(Notice { is_warning: false, text });
                }
            }
            Err(why) => {
                self.device.put_sum(&wanted);
                self.begin_anew();
                self.stage = Stage::GivenUp;
                let text = format!(
                    "no CUDA graphs are used, though compute.cuda_graphs is auto: {why}; it is slower without"
                );
                self.notice = Some(Notice { is_warning: true, text });
            }
        }
    }

    /// D's half of a step that has what not every step has: recordings are of the others. The step is done call by call.
    fn compute_special(&mut self, lanes: &mut Lanes, work: &mut Work) {
        match self.stage {
            Stage::Proved(_) => self.stage = Stage::Proved(None),
            Stage::HalfProved(_) => self.begin_anew(),
            Stage::WarmingUp(steps) => self.stage = Stage::WarmingUp(steps + 1),
            Stage::GivenUp => {}
        }
        step::sum(&mut self.device, lanes, work);
    }

    fn record_half(&mut self, work: &Work) -> Result<(), String> {
        let splits = work.half == Half::Discriminator && self.ahead != Ahead::Never;
        let Self { device, recorder, recordings, reals, inputs, .. } = self;
        if splits {
            for (at, task) in work.tasks.iter().enumerate() {
                inputs.bring_real(at, task);
                let recording = recorder.record(&mut || inputs.compute_ahead(at, task))?;
                recording.replay(&mut || inputs.compute_ahead(at, task))?;
                reals.push(recording);
            }
        }
        device.begin(work.controls);
        let outcome = work.tasks.iter().enumerate().try_for_each(|(at, task)| {
            if !splits {
                inputs.bring_real(at, task);
            }
            inputs.bring_z(at, task);
            let recording = recorder.record(&mut || inputs.add_to(device, at, task))?;
            recording.replay(&mut || inputs.add_to(device, at, task))?;
            device.has_added();
            recordings[work.half as usize].push(recording);
            Ok(())
        });
        device.end();
        outcome
    }

    fn replay_half(&mut self, work: &mut Work) {
        let splits = !self.reals.is_empty();
        if let (true, Half::Discriminator, [Task { step, .. }, ..]) = (splits, work.half, &*work.tasks) {
            if self.ahead != Ahead::Of(*step) {
                self.replay_reals(&work.tasks);
            }
            self.ahead = Ahead::Before;
        }
        let Self { device, recordings, inputs, .. } = self;
        device.begin(work.controls);
        for (at, (task, recording)) in work.tasks.iter().zip(&recordings[work.half as usize]).enumerate() {
            if !splits {
                inputs.bring_real(at, task);
            }
            inputs.bring_z(at, task);
            replayed(recording.replay(&mut || inputs.add_to(device, at, task)));
            device.has_added();
            if at == 0 {
                work.beside.after_first();
            }
        }
        device.end();
    }

    /// D on the real samples of D's tasks.
    fn replay_reals(&mut self, tasks: &[Task]) {
        for (at, (task, recording)) in tasks.iter().zip(&self.reals).enumerate() {
            self.inputs.bring_real(at, task);
            replayed(recording.replay(&mut || self.inputs.compute_ahead(at, task)));
        }
    }

    /// Whether the recordings are of these ranks.
    fn is_of(&self, tasks: &[Task]) -> bool {
        self.inputs.ranks.iter().map(|(rank, _)| *rank).eq(tasks.iter().map(|task| task.rank))
    }

    fn compare(&self, wanted: &Tensor, found: &Tensor) -> Result<(), String> {
        let differ = |what: &str| Err(format!("a recorded step gave {what}"));
        match self.proof {
            Proof::SameBits if !wanted.equal(found) => {
                differ("other bits than the same step queued call by call")
            }
            Proof::SameBits => Ok(()),
            Proof::Close => {
                let [wanted, found] = [wanted, found].map(|words| words.to_kind(tch::Kind::Double));
                let (off, most) = ((&wanted - &found).abs().max(), wanted.abs().max());
                let (off, most) = (off.double_value(&[]), most.double_value(&[]));
                if off <= 0.01 * most {
                    Ok(())
                } else {
                    differ("other sums than the same step queued call by call")
                }
            }
        }
    }
}

impl Inputs {
    /// What is recorded: a virtual rank's half, from its inputs to the sum.
    fn add_to(&mut self, device: &mut impl Arithmetic, at: usize, task: &Task) {
        let (_, z) = &self.ranks[at];
        let give = &mut |contribution: Contribution| device.add(&contribution);
        let given = Given { z: Some(z), real: self.real.as_ref(), draws: self.draws.get(at) };
        self.lane.compute_on(task, given, Sink { in_pieces: false, give });
    }

    /// What is recorded of D on real samples: it is kept until the rank's half.
    fn compute_ahead(&mut self, at: usize, task: &Task) {
        let real = self.real.as_ref().expect("it was brought");
        self.lane.compute_ahead_on(task, real, self.draws.get(at));
    }

    /// Puts z where the recordings have it. G's half finds it where D's had it.
    fn bring_z(&mut self, at: usize, task: &Task) {
        if task.half() == Half::Generator {
            return;
        }
        let z = self.lane.latent(task);
        match self.ranks.get_mut(at) {
            Some((_, place)) => place.copy_(&z),
            None => self.ranks.push((task.rank, z.copy())),
        }
    }

    /// Puts the real samples where the recordings have them, and what else is drawn. G's half finds that where D's had it.
    fn bring_real(&mut self, at: usize, task: &Task) {
        let Some(real) = &task.real else { return };
        if let Some(draws) = self.lane.draws(task) {
            match self.draws.get_mut(at) {
                Some(place) => place.copy_(&draws),
                None => self.draws.push(draws.copy()),
            }
        }
        let real = self.lane.carried(&real.samples);
        match &mut self.real {
            Some(place) => place.copy_(&real),
            // With the strides of the original.
            none => *none = Some(real.copy()),
        }
    }
}

/// A panic where it failed, as where an operation of libtorch fails: a device that worked a step ago is broken.
fn replayed(replay: Result<(), String>) {
    replay.unwrap_or_else(|why| panic!("a recorded half cannot be queued: {why}"));
}

impl<W: Word> Engine for Graphs<W> {
    /// Computes a half by its recordings where they are proved and of the same ranks, and call by call elsewhere.
    fn compute(&mut self, lanes: &mut Lanes, work: &mut Work) {
        let step = work.tasks.first().filter(|_| !work.is_idle).map(|task| task.step);
        let Some(step) = step else { return step::sum(&mut self.device, lanes, work) };
        let is_same = self.is_of(&work.tasks);
        if work.half == Half::Discriminator && self.inputs.lane.is_special(step) {
            return self.compute_special(lanes, work);
        }
        match (self.stage, work.half) {
            (Stage::Proved(_), Half::Discriminator) if is_same => {
                self.stage = Stage::Proved(Some(step));
                self.replay_half(work);
            }
            (Stage::Proved(Some(of)), Half::Generator) if is_same && of == step => self.replay_half(work),
            (Stage::WarmingUp(steps), Half::Discriminator)
                if steps >= WARM_UP_STEPS && self.device.updates_generator(step) =>
            {
                self.begin_anew();
                self.prove(lanes, work, Stage::HalfProved(step));
            }
            (Stage::HalfProved(of), Half::Generator) if is_same && of == step => {
                self.prove(lanes, work, Stage::Proved(None));
            }
            (Stage::GivenUp, _) | (_, Half::Generator) => step::sum(&mut self.device, lanes, work),
            // Other virtual ranks than before, a step that was not ended, or one that cannot be proved.
            (Stage::Proved(_) | Stage::HalfProved(_) | Stage::WarmingUp(_), Half::Discriminator) => {
                let steps = match self.stage {
                    Stage::WarmingUp(steps) => steps + 1,
                    _ => {
                        self.ahead = Ahead::Never;
                        1
                    }
                };
                self.begin_anew();
                self.stage = Stage::WarmingUp(steps);
                step::sum(&mut self.device, lanes, work);
            }
        }
    }

    fn compute_ahead(&mut self, lanes: &mut Lanes, tasks: &[Task]) {
        match (self.stage, tasks.first()) {
            (_, Some(first)) if self.inputs.lane.is_special(first.step) => lanes.run_ahead(tasks),
            (Stage::Proved(_), Some(first)) if !self.reals.is_empty() && self.is_of(tasks) => {
                self.replay_reals(tasks);
                self.ahead = Ahead::Of(first.step);
            }
            // Of recordings that have D's whole half nothing can be computed ahead.
            (Stage::Proved(_), _) => {}
            (Stage::WarmingUp(_) | Stage::HalfProved(_) | Stage::GivenUp, _) => {
                lanes.run_ahead(tasks);
                self.ahead = Ahead::Before;
            }
        }
    }

    /// The state is another one, or an update was not made: no fake is kept.
    fn forget_fakes(&mut self) {
        self.inputs.lane.forget(Kept::All);
        if let Ahead::Of(_) = self.ahead {
            self.ahead = Ahead::Before;
        }
        match self.stage {
            Stage::HalfProved(_) => self.begin_anew(),
            Stage::Proved(_) => self.stage = Stage::Proved(None),
            Stage::WarmingUp(_) | Stage::GivenUp => {}
        }
    }

    fn take_notice(&mut self) -> Option<Notice> {
        self.notice.take()
    }

    fn take_words(&mut self) -> Vec<Words> {
        self.device.take_words()
    }

    fn put_words(&mut self, words: Vec<Words>) {
        self.device.put_words(words);
    }

    fn fingerprint(&self) -> Option<u64> {
        self.device.fingerprint()
    }

    fn travel_from_host(&mut self, from_host: bool) {
        self.device.travel_from_host(from_host);
    }

    fn apply(&mut self, update: &Update) -> Result<Applied, NotApplied> {
        self.device.apply(update)
    }

    fn queue(&mut self) -> Option<&mut dyn UpdateQueue> {
        self.device.queue()
    }

    fn step_back(&mut self) {
        self.device.step_back();
    }

    fn reduction(&self) -> Reduction {
        self.device.reduction()
    }

    fn next_reduction(&self) -> Reduction {
        self.device.next_reduction()
    }

    fn state(&self) -> &State {
        self.device.state()
    }

    fn state_mut(&mut self) -> &mut State {
        self.device.state_mut()
    }

    fn state_changed(&mut self) {
        self.device.state_changed();
    }
}
