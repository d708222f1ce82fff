//! One generation while it steps: both halves of a step, and what is due at a step boundary.

use std::time::{Duration, Instant};

use lsgan_collective::GroupError;
use lsgan_control::member::{Boundary, Duty, Event, Wishes};
use lsgan_control::report::CorruptRecord;
use lsgan_control::{Form, Report};
use lsgan_data::{Loader, LoaderOptions, RecordError, Replaced, StepBatch, WaitWatch};
use lsgan_spec::{Generation, Half, Step, VirtualRank};
use lsgan_train::{
    Applied, Beside, ControlWord, ControlWords, Metrics, Notice, RankBatch, Replica, Words, rehearsal,
};
use lsgan_wire::v1::SpanKind;

use crate::load::Load;
use crate::meter::Meter;
use crate::orders::Live;
use crate::pace::Pace;
use crate::recorder::{Begin, Recorder};
use crate::reduce::{Formed, Queued, ReduceError, Update};
use crate::trainer::{Halt, Trainer};

/// Steps that are read ahead of the one that is computed: enough to hide a slow record, little memory.
const LOADER_DEPTH_STEPS: usize = 3;

/// What a generation does while a half is computed.
struct Meanwhile<'a> {
    group: &'a mut Formed,
    queued: Option<&'a Queued>,
    recorder: &'a mut Recorder,
    /// When something began to be added to the sum.
    adds_since: Begin,
}

impl<'a> Meanwhile<'a> {
    fn new(group: &'a mut Formed, queued: Option<&'a Queued>, recorder: &'a mut Recorder) -> Self {
        Self { group, queued, recorder, adds_since: None }
    }
}

impl Beside for Meanwhile<'_> {
    fn after_first(&mut self) {
        if let Some(queued) = self.queued {
            let begin = self.recorder.begin();
            self.group.wait_for(queued);
            self.recorder.end(begin, SpanKind::DeviceWait);
        }
    }

    fn watches(&self) -> bool {
        self.recorder.is_on()
    }

    fn adds(&mut self) {
        self.adds_since = self.recorder.begin();
    }

    fn added(&mut self) {
        self.recorder.end(self.adds_since, SpanKind::Quantise);
    }

    fn takes_early(&self) -> bool {
        self.group.takes_early()
    }

    fn ready(&mut self, words: Vec<Words>) {
        self.group.start(words);
    }
}

/// What was computed since an update was queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Since {
    Good,
    /// The update was made only later: its sum travelled twice ([`Formed::finish`]).
    Void,
}

/// One generation, while it steps.
pub struct Stepping<'a> {
    trainer: &'a mut Trainer,
    generation: Generation,
    duty: Duty,
    group: Formed,
    loader: Loader,
    ranks: Vec<VirtualRank>,
    meter: Meter,
    load: Load,
    pace: Pace,
    waits: WaitWatch,
    step_began: Instant,
    /// In this step.
    data_waited: Duration,
    /// The first rank makes the pictures.
    pictures: bool,
    /// The batch of the next step, taken while the sum of this one travels; or what is wrong with it.
    ahead: Option<Result<StepBatch, Halt>>,
    /// An update that is queued on a GPU and not known to be done. Never on a CPU.
    queued: Option<Queued>,
    /// Where the time goes, while an operator asks.
    recorder: Recorder,
}

impl<'a> Stepping<'a> {
    /// Starts to read what the receiver of `form` computes.
    ///
    /// # Errors
    /// The loader cannot start.
    pub fn new(trainer: &'a mut Trainer, form: &Form, live: &Live, group: Formed) -> Result<Self, Halt> {
        let ranks: Vec<_> = form.members[form.rank as usize].virtual_ranks().collect();
        let done = trainer.replica.reduction().step();
        let first = match trainer.replica.reduction().half() {
            Half::Discriminator => done,
            // D's half is done; the step's real samples are not needed any more.
            Half::Generator => done.next(),
        };
        // Members before this one may have consumed more than they could report, and a small lease would run dry.
        for &rank in &ranks {
            trainer.report_consumed(rank, done);
        }
        let options = LoaderOptions {
            ranks: ranks.clone(),
            from: first,
            threads: trainer.spec.compute.loader_threads as usize,
            depth_steps: LOADER_DEPTH_STEPS,
            classes: trainer.spec.model.classes.count > 0,
        };
        let loader = Loader::start(trainer.source.clone(), trainer.plan, live.leases.clone(), options)?;
        live.watch(loader.stopper());
        Ok(Self {
            generation: form.generation,
            duty: Duty::of(form),
            pictures: form.rank == 0,
            meter: Meter::new(trainer.spec.report.every),
            load: Load::start(&trainer.device, trainer.spec.compute.threads),
            pace: Pace::start(),
            waits: WaitWatch::default(),
            step_began: Instant::now(),
            data_waited: Duration::ZERO,
            ahead: None,
            queued: None,
            recorder: Recorder::default(),
            trainer,
            group,
            loader,
            ranks,
        })
    }

    /// Steps until something ends the generation.
    pub fn run(&mut self) -> Halt {
        let halt = loop {
            if let Err(halt) = self.half() {
                // What ended an update that is still queued came first.
                break self.settle().err().unwrap_or(halt);
            }
        };
        self.recorder.finish(&self.trainer.outbox);
        halt
    }

    /// One half of a step, up to and with the update that its reduction feeds.
    ///
    /// On a GPU the host runs ahead: while the device sums and updates, the host queues the next half, which changes no
    /// state. Before it queues that half's own sum, it reads the result of the update before ([`Self::settle`]). So the
    /// device never waits for the host, and every rank still parks at the same reduction, because a step boundary is decided
    /// from the reduced header before the next sum.
    ///
    /// There sums stay on the training stream, and batches and noise have a stream of their own (`lsgan_train::feed`).
    ///
    /// On a CPU sums travel on a thread of their own. Those of the last layers leave while the backward pass goes on to the
    /// first ([`Meanwhile`]), and G's arrive while D is computed on the real samples of the next step ([`take_ahead`]). For the
    /// rest of D's sum the step waits: G's half needs D's new weights, and the fake and its graph are kept.
    fn half(&mut self) -> Result<(), Halt> {
        let reduction = self.trainer.replica.next_reduction();
        let step = reduction.step();
        match reduction.half() {
            Half::Discriminator if self.duty.is_over(step) => Err(Halt::Boundary),
            Half::Discriminator => self.discriminator(step),
            Half::Generator => self.generator(step),
        }
    }

    fn discriminator(&mut self, step: Step) -> Result<(), Halt> {
        self.recorder.step_begins(step, &self.trainer.outbox);
        self.group.time(self.recorder.is_on());
        if !self.may_run_ahead(step) {
            self.settle()?;
        }
        let batch = match self.ahead.take() {
            Some(ahead) => ahead?,
            None => {
                let begin = self.recorder.begin();
                let batch = self.loader.next()?;
                self.recorder.end(begin, SpanKind::DataWait);
                batch
            }
        };
        debug_assert_eq!(batch.step, step);
        for replaced in &batch.replaced {
            self.replaced(step, replaced);
        }
        let work = work_of(&batch);
        loop {
            let (begin, since) = (self.recorder.begin(), Instant::now());
            let mut meanwhile = Meanwhile::new(&mut self.group, self.queued.as_ref(), &mut self.recorder);
            let controls = ControlWords::default();
            self.trainer.replica.compute_discriminator_with(step, &work, controls, &mut meanwhile)?;
            self.trainer.faults.slow_down(since);
            self.load.discriminator(since.elapsed());
            self.recorder.end(begin, SpanKind::Discriminator);
            if self.settle()? == Since::Good {
                break;
            }
        }
        let waited = batch.waited;
        self.loader.recycle(batch);
        self.meter.data_wait(waited);
        self.load.data_wait(waited);
        self.data_waited = waited;
        self.reduce(step)
    }

    fn generator(&mut self, step: Step) -> Result<(), Halt> {
        // Wishes ride here alone: all ranks read them in the last reduction before a step boundary.
        let wishes = to_header(self.trainer.outbox.wishes(self.generation));
        loop {
            let (begin, since) = (self.recorder.begin(), Instant::now());
            let mut meanwhile = Meanwhile::new(&mut self.group, self.queued.as_ref(), &mut self.recorder);
            self.trainer.replica.compute_generator_with(step, &self.ranks, wishes, &mut meanwhile)?;
            self.load.generator(since.elapsed());
            self.recorder.end(begin, SpanKind::Generator);
            if self.settle()? == Since::Good {
                return self.reduce(step);
            }
        }
    }

    /// Whether D's half of `step` may be computed before the result of the last update is known. Not if the state is read
    /// in between, nor if the loader may wait for a lease: the coordinator extends it after our report.
    fn may_run_ahead(&self, step: Step) -> bool {
        let spec = &self.trainer.spec;
        let looks = [spec.samples.every, spec.checkpoint.every, spec.report.state_hash_every];
        let flips = self.trainer.faults.flip_bit_at == Some(step.0);
        !looks.into_iter().any(|every| is_due(every, step)) && !flips && self.loader.has_next()
    }

    /// Sums what was computed over all members, and applies it or queues that.
    fn reduce(&mut self, step: Step) -> Result<(), Halt> {
        let next = step.next();
        let goes_on =
            self.trainer.replica.next_reduction().half() == Half::Generator && !self.duty.is_over(next);
        let begin = self.recorder.begin();
        let (loader, ahead, load) = (&mut self.loader, &mut self.ahead, &mut self.load);
        let recorder = &mut self.recorder;
        let waited = if goes_on {
            self.group.all_reduce_during(&mut self.trainer.replica, |replica| {
                if loader.has_next() {
                    let (begin, since) = (recorder.begin(), Instant::now());
                    *ahead = Some(take_ahead(loader, replica, next));
                    load.discriminator(since.elapsed());
                    recorder.end(begin, SpanKind::DiscriminatorAhead);
                }
            })
        } else {
            self.group.all_reduce(&mut self.trainer.replica)
        }?;
        self.recorder.end(begin, SpanKind::Exchange);
        for (begin, end) in self.group.take_travels() {
            self.recorder.between(begin, end, SpanKind::Travel);
        }
        self.meter.reduce(waited);
        self.load.reduce(waited);
        self.pace.waited(waited);
        let metrics = if self.meter.wants(step.0) { Metrics::Read } else { Metrics::Skipped };
        let (begin, since) = (self.recorder.begin(), Instant::now());
        let update = self.group.apply(&mut self.trainer.replica, metrics)?;
        self.load.apply(since.elapsed());
        self.recorder.end(begin, SpanKind::Apply);
        match update {
            Update::Done(applied) => self.applied(applied),
            Update::Queued(queued) => {
                self.queued = Some(queued);
                Ok(())
            }
        }
    }

    /// Waits for the queued update, if there is one, and does what is due after it.
    fn settle(&mut self) -> Result<Since, Halt> {
        let Some(queued) = self.queued.take() else { return Ok(Since::Good) };
        let begin = self.recorder.begin();
        let finished = self.group.finish(&mut self.trainer.replica, queued);
        self.recorder.end(begin, SpanKind::DeviceWait);
        if matches!(finished, Err(ReduceError::Group(GroupError::NotDrained { .. }))) {
            // The device may still change the state, so that it is unknown.
            self.trainer.holds = false;
        }
        let applied = finished?;
        self.applied(applied)?;
        Ok(if applied.repeated > 0 { Since::Void } else { Since::Good })
    }

    /// What is due after an update.
    fn applied(&mut self, applied: Applied) -> Result<(), Halt> {
        let Applied { reduction, controls, metrics, repeated } = applied;
        self.meter.repeated(repeated);
        let outbox = &self.trainer.outbox;
        match reduction.half() {
            Half::Generator => {
                self.meter.discriminator(metrics);
                outbox.applied(reduction);
                Ok(())
            }
            Half::Discriminator => {
                self.meter.generator(metrics);
                outbox.applied(reduction);
                self.step_ended(Step(reduction.step().0 - 1), controls)
            }
        }
    }

    fn replaced(&self, step: Step, replaced: &Replaced) {
        let Replaced { record, by, reason, .. } = replaced;
        tracing::warn!(step = step.0, record, by, "{reason}");
        if let RecordError::Undecodable { key, reason, .. } = reason {
            let (key, reason) = (key.clone(), reason.clone());
            let record = CorruptRecord { record: *record, key, reason, step };
            self.trainer.outbox.say(Report::CorruptRecords(vec![record]));
        }
    }

    /// Warns if steps wait for data.
    fn watch_waiting(&mut self) {
        let (waited, whole) = (std::mem::take(&mut self.data_waited), self.step_began.elapsed());
        self.step_began = Instant::now();
        if let Some(slow) = self.waits.step_ended(waited, whole, self.trainer.spec.compute.loader_threads) {
            tracing::warn!("{slow}");
            self.trainer.outbox.say(Report::Warning { text: slow.to_string() });
        }
    }

    /// What is due at a step boundary. Every rank decides the same, from the step and the reduced header.
    fn step_ended(&mut self, step: Step, controls: ControlWords) -> Result<(), Halt> {
        let (begin, done) = (self.recorder.begin(), step.next());
        self.report(step, done);
        if self.trainer.faults.flip_bit_at == Some(done.0) {
            tracing::warn!(step = done.0, "a bit of the weights is flipped, as --fault-flip-bit says");
            rehearsal::flip_a_bit(&mut self.trainer.replica);
        }
        self.trainer.faults.fail_after(done.0);
        self.report_state(done);
        let wishes = from_header(controls);
        if wishes.snapshot {
            self.trainer.outbox.apply(Event::SnapshotHeard(self.generation));
        }
        let spec = &self.trainer.spec;
        let snapshot_due = is_due(spec.checkpoint.every, done);
        if self.pictures && is_due(spec.samples.every, done) && !self.duty.is_over(done) {
            self.trainer.sample();
        }
        let Boundary { parks, snapshot } = self.duty.step_done(done, wishes, snapshot_due);
        if snapshot {
            self.trainer.snapshot();
        }
        self.recorder.end(begin, SpanKind::Boundary);
        self.recorder.step_ended(step);
        if parks { Err(Halt::Boundary) } else { Ok(()) }
    }

    /// Reports this step's time, metrics and consumed positions.
    fn report(&mut self, step: Step, done: Step) {
        self.watch_waiting();
        while let Some(Notice { is_warning, text }) = self.trainer.replica.take_notice() {
            if is_warning {
                tracing::warn!(step = step.0, "{text}")
            } else {
                tracing::info!(step = step.0, "{text}")
            }
        }
        self.trainer.outbox.apply(Event::Pace(self.pace.step_ended(self.ranks.len())));
        if let Some(row) = self.meter.step_ended(step.0) {
            self.trainer.outbox.metrics(row);
        }
        if let Some(load) = self.load.step_ended() {
            self.trainer.outbox.load(load);
        }
        for &rank in &self.ranks {
            self.trainer.report_consumed(rank, done);
        }
    }

    /// Lets the coordinator compare what all members hold.
    fn report_state(&self, done: Step) {
        if is_due(self.trainer.spec.report.state_hash_every, done) {
            let hash = self.trainer.replica.fingerprint();
            self.trainer.outbox.say(Report::StateHash { step: done, hash });
        }
    }
}

/// Takes the batch of the next step, and computes what needs only that: D on real samples.
fn take_ahead(loader: &mut Loader, replica: &mut Replica, next: Step) -> Result<StepBatch, Halt> {
    let batch = loader.next()?;
    replica.compute_ahead(next, &work_of(&batch))?;
    Ok(batch)
}

fn work_of(batch: &StepBatch) -> Vec<RankBatch<'_>> {
    let batches = batch.batches.iter();
    batches
        .map(|b| RankBatch { virtual_rank: b.virtual_rank, samples: &b.samples, classes: &b.classes })
        .collect()
}

fn is_due(every: u64, done: Step) -> bool {
    every > 0 && done.0.is_multiple_of(every)
}

/// The words of a header, before the sum.
fn to_header(wishes: Wishes) -> ControlWords {
    let Wishes { snapshot, reform, finish, leave } = wishes;
    let words = [
        (ControlWord::Snapshot, snapshot),
        (ControlWord::Reform, reform),
        (ControlWord::Finish, finish),
        (ControlWord::Leave, leave),
    ];
    let wished = words.into_iter().filter(|(_, wished)| *wished);
    wished.fold(ControlWords::default(), |words, (word, _)| words.with(word))
}

/// What any member wishes for, after the sum.
fn from_header(words: ControlWords) -> Wishes {
    Wishes {
        snapshot: words.is_set(ControlWord::Snapshot),
        reform: words.is_set(ControlWord::Reform),
        finish: words.is_set(ControlWord::Finish),
        leave: words.is_set(ControlWord::Leave),
    }
}
