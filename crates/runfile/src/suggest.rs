//! What was probably meant by a name that other trainers use for a field or a choice, by a misspelt one, and by a value in
//! another form.

use lsgan_spec::table::{self, Kind, Scalar};

use crate::tree::{self, Node, Origin, Value};

/// What a name of another trainer is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meant {
    /// This field or section.
    Field(&'static str),
    /// Nothing of the run's file: what to do.
    Words(&'static str),
}

use Meant::{Field, Words};

const GLOBAL_BATCH: Meant = Words(
    "The global batch is batch.virtual_ranks x batch.per_rank: write both, for example \
     `batch: { virtual_ranks: 4, per_rank: 32 }`.",
);
const WORKERS: Meant = Words(
    "How many workers there are is said where they are started (`lsgan up --workers N`); at most batch.virtual_ranks of \
     them compute.",
);
const STEPS: Meant = Words(
    "Set steps: an epoch has as many as the data set's records / (batch.virtual_ranks x batch.per_rank).",
);
const ADDRESS: Meant = Words(
    "Addresses are options of the commands (`coordinator --listen`, `worker --coordinator`); remove it here.",
);
const RESUME: Meant = Words(
    "Remove it: the same command goes on from the newest snapshot, and --fork NAME branches off from one.",
);
const SHUFFLE: Meant = Words("Remove it: records are always shuffled, by the seed; data.mix says how far.");
const BETAS: Meant = Words("Write them one by one, as `beta1: 0.5` and `beta2: 0.999`.");

const RATE: Meant = Field("optimizer.generator.adam.learning_rate");
const RATE_OF_D: Meant = Field("optimizer.discriminator.adam.learning_rate");
const BETA1: Meant = Field("optimizer.generator.adam.beta1");
const BETA2: Meant = Field("optimizer.generator.adam.beta2");
const EPSILON: Meant = Field("optimizer.generator.adam.epsilon");
const SIZE: Meant = Field("data.image.size");
const CHANNELS: Meant = Field("data.image.channels");
const LATENT: Meant = Field("model.generator.dcgan.latent.normal");
const TO: Meant = Field("checkpoint.to");
const EVERY: Meant = Field("checkpoint.every");
const KEEP: Meant = Field("checkpoint.keep_last");
const REPORT: Meant = Field("report.every");
const SAMPLES: Meant = Field("samples.every");
const PER_RANK: Meant = Field("batch.per_rank");
const LOADERS: Meant = Field("compute.loader_threads");
const DEVICE: Meant = Field("compute.device");
const PRECISION: Meant = Field("precision");
const SOURCE: Meant = Field("data.source");
const OBJECTIVE: Meant = Field("objective");
const FLIP: Meant = Field("data.image.flip");

/// Names in small letters with `_`, each with what it means. A name with its section counts before one without.
const NAMES: &[(&str, Meant)] = &[
    ("batch.size batch_size batchsize bs global_batch global_batch_size total_batch_size", GLOBAL_BATCH),
    ("micro_batch micro_batch_size per_device_train_batch_size batch_size_per_gpu batch_per_gpu", PER_RANK),
    ("batch_gpu batch_per_device per_gpu per_worker per_device local_batch_size", PER_RANK),
    ("gradient_accumulation_steps accumulate_grad_batches accumulation", Field("batch.virtual_ranks")),
    ("cluster.num_workers workers gpus num_gpus n_gpus ngpu ngpus devices", WORKERS),
    ("nproc_per_node world_size nodes num_nodes nnodes replicas", WORKERS),
    ("min_nodes min_gpus min_replicas", Field("cluster.min_workers")),
    ("max_nodes max_gpus max_replicas", Field("cluster.max_workers")),
    ("epoch epochs num_epochs n_epochs max_epochs nepoch kimg total_kimg", STEPS),
    ("iterations iters niter num_iterations max_iter max_iters n_iters", Field("steps")),
    ("num_steps max_steps total_steps train_steps n_steps training_steps", Field("steps")),
    ("random_seed manual_seed manualseed rng_seed", Field("seed")),
    ("name exp_name experiment run_name project run_id", Field("run")),
    ("lr learn_rate step_size lr_g g_lr lrg glr alpha", RATE),
    ("lr_d d_lr lrd dlr", RATE_OF_D),
    ("betas", BETAS),
    ("b1 beta_1 adam_beta1", BETA1),
    ("b2 beta_2 adam_beta2", BETA2),
    ("eps adam_epsilon adam_eps", EPSILON),
    ("optim optimizers optimisers", Field("optimizer")),
    ("lr_scheduler lr_schedule scheduler lr_decay", Field("optimizer.schedule.decay")),
    (
        "warmup warm_up warmup_steps lr_warmup_steps num_warmup_steps",
        Field("optimizer.schedule.warm_up_steps"),
    ),
    ("lr_decay_steps total_iters t_max", Field("optimizer.schedule.decay_steps")),
    (
        "clip clip_grad grad_clip gradient_clip max_grad_norm clip_grad_norm max_norm",
        Field("optimizer.clip_norm"),
    ),
    (
        "n_critic ncritic critic_iters critic_steps n_dis num_d_steps d_steps d_iters d_updates",
        Field("optimizer.discriminator_steps"),
    ),
    ("n_classes num_classes class_num classes_count conditional", Field("model.classes.count")),
    ("ema_ramp ema_rampup ema_warmup ema_warm_up", Field("ema.ramp")),
    ("gradient_clip_val", Field("optimizer.clip_norm")),
    ("gamma r1_gamma r1_weight lambda_r1 r1_lambda", Field("regularization.r1.gamma")),
    ("r1_every r1_interval d_reg_every d_reg_interval reg_interval", Field("regularization.r1.every")),
    ("diffaug diffaugment diff_augment augmentation aug", Field("augment")),
    ("use_bn norm normalization bn", Field("model.batch_norm")),
    ("lambda_gp gp_weight gp_lambda lambda", Field("objective.wgan_gp.penalty")),
    ("wd decay_weight", Field("optimizer.generator.adamw.weight_decay")),
    ("loss losses gan_mode gan_loss gan_type criterion adversarial_loss", OBJECTIVE),
    ("arch architecture network networks models", Field("model")),
    ("g netg gen g_net", Field("model.generator")),
    ("d netd disc dis d_net", Field("model.discriminator")),
    ("latent_dim latent_size z_dim zdim dim_z nz noise_dim noise_size z", LATENT),
    ("ngf g_channels g_conv_dim gen_width gf_dim", Field("model.generator.dcgan.width")),
    ("ndf d_channels d_conv_dim disc_width df_dim", Field("model.discriminator.dcgan.width")),
    ("hidden hidden_size hidden_dim", Field("model.generator.mlp.width")),
    ("layers num_layers n_layers", Field("model.generator.mlp.depth")),
    ("dataset datasets dataroot data_root data_dir data_path dataset_path train_dir", SOURCE),
    ("image_size img_size imsize imgsize resolution img_resolution crop_size input_size", SIZE),
    ("num_channels n_channels nc in_channels img_channels image_channels nb_channels", CHANNELS),
    ("mirror hflip random_flip horizontal_flip xflip", FLIP),
    ("resize resize_mode crop center_crop", Field("data.image.fit")),
    ("shuffle", SHUFFLE),
    ("shuffle_buffer buffer_size shuffle_size", Field("data.mix")),
    ("num_workers n_workers dataloader_workers loader_workers num_loader_workers", LOADERS),
    ("num_threads n_threads omp_num_threads intra_op_threads", Field("compute.threads")),
    ("gpu gpu_id gpu_ids compute.devices cuda use_cuda accelerator no_cuda", DEVICE),
    ("amp fp16 bf16 dtype half mixed_precision use_amp", PRECISION),
    ("cudnn_deterministic", Field("compute.deterministic")),
    ("ema_decay ema_beta ema_rate ema_momentum", Field("ema.decay")),
    ("save_every save_interval save_freq save_steps checkpoint_every checkpoint_interval", EVERY),
    ("snap snapshot_every snapshot_interval ckpt_every", EVERY),
    ("keep max_to_keep save_total_limit keep_checkpoints save_top_k", KEEP),
    ("out outdir out_dir output output_dir save_dir save_path log_dir logdir", TO),
    ("checkpoint_dir ckpt_dir checkpoint_path run_dir workdir work_dir", TO),
    ("log_every log_interval log_freq print_freq print_every logging_steps", REPORT),
    ("sample_every sample_interval sample_freq vis_every display_freq", SAMPLES),
    ("num_samples n_samples nrow sample_size", Field("samples.grid")),
    ("timeout heartbeat_timeout heartbeat", Field("cluster.failure_timeout")),
    ("resume resume_from resume_from_checkpoint load_from pretrained restore", RESUME),
    ("port host listen address master_addr master_port coordinator init_method", ADDRESS),
];

/// Words of other trainers for a field's choices: the field, our word, theirs.
const WORDS: &[(&str, &str, &str)] = &[
    ("compute.device", "cuda", "gpu nvidia"),
    ("compute.device", "cuda:0", "cuda0 gpu:0"),
    ("compute.device", "cpu", "none"),
    ("precision", "f32", "fp32 float32 float full 32"),
    ("precision", "bf16", "bfloat16 bf16-mixed"),
    ("precision", "tf32", "tensorfloat32"),
    ("data.image.fit", "crop", "center_crop centercrop"),
    ("data.image.fit", "pad", "letterbox"),
    ("data.image.flip", "random", "horizontal true"),
    ("data.image.flip", "never", "false none"),
    ("objective", "least_squares", "lsgan mse l2 ls"),
    ("objective", "non_saturating", "vanilla gan bce"),
    ("objective", "wgan_gp", "wgan wgan-gp wgangp wasserstein"),
    ("optimizer.generator", "rmsprop", "rms rms_prop"),
    ("optimizer.discriminator", "rmsprop", "rms rms_prop"),
    ("data.source", "folder", "imagefolder image_folder directory images"),
    ("data.source", "idx", "mnist fashion_mnist"),
    ("data.source", "lsun", "lmdb"),
    ("data.source", "webdataset", "tar wds"),
    ("reduction", "exact", "sum mean allreduce"),
    ("samples.weights", "ema", "average g_ema"),
];

/// For an unknown key below `parent`: the one beside it that it was meant to be, and what to do.
pub fn key(parent: &str, key: &str, known: &[&'static str], tree: &Node) -> (Option<&'static str>, String) {
    let beside = |meant: &'static str| (Some(meant), format!("Did you mean `{meant}`?"));
    match of_other_trainers(parent, key) {
        Some(Words(words)) => return (None, words.to_owned()),
        Some(Field(path)) => {
            if known.contains(&last(path)) {
                return beside(last(path));
            }
            return (None, format!("Did you mean {}?", of_chosen(path, tree)));
        }
        None => {}
    }
    if let Some(near) = nearest(key, known) {
        return beside(near);
    }
    match table::all().into_iter().find(|(_, row)| row.name == key) {
        Some((path, _)) => (None, format!("Remove it here, or did you mean {}?", of_chosen(&path, tree))),
        None => (None, "Remove it.".to_owned()),
    }
}

/// What the key `key` below `parent` means, if other trainers call something so.
fn of_other_trainers(parent: &str, key: &str) -> Option<Meant> {
    let name = key.to_lowercase().replace('-', "_");
    let whole = table::join(parent, &name);
    let called = |names: &str, name: &str| names.split(' ').any(|known| known == name);
    let find = |name: &str| NAMES.iter().find(|(names, _)| called(names, name)).map(|(_, meant)| *meant);
    find(&whole).or_else(|| find(&name))
}

/// The same field of the model that the file chooses, where it has one.
fn of_chosen(path: &str, tree: &Node) -> String {
    let mut keys: Vec<&str> = path.split('.').collect();
    if let ["model", net, kind, ..] = &mut keys[..]
        && let Some([chosen]) = tree.at(&format!("model.{net}")).map(|entry| entry.node.entries())
    {
        *kind = &chosen.key;
    }
    let chosen = keys.join(".");
    if table::find(&chosen).is_some() { chosen } else { path.to_owned() }
}

/// The name of the table that `word` was probably meant to be.
pub fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let edits = |name: &str| strsim::damerau_levenshtein(word, name);
    let best = known.iter().copied().min_by_key(|name| edits(name))?;
    // A third of a word may be wrong, and two letters of a short one; more is another word.
    (edits(best) <= 2.max(best.len() / 3) && edits(best) < best.len()).then_some(best)
}

/// The choice of `path` that other trainers call `word`.
pub fn word(path: &str, word: &str) -> Option<&'static str> {
    let word = word.to_lowercase();
    let mut rows = WORDS.iter().filter(|(field, ..)| *field == path);
    rows.find(|(_, _, theirs)| theirs.split(' ').any(|known| known == word)).map(|(_, ours, _)| *ours)
}

/// What to write for a value that `path` does not accept as it is, where its form tells what was meant.
pub fn value(path: &str, kind: &Kind, node: &Node) -> Option<String> {
    let Value::Scalar(value) = &node.value else { return None };
    let name = last(path);
    let whole = matches!(kind, Kind::Whole(..) | Kind::OneOf(_) | Kind::Side);
    let number = whole || matches!(kind, Kind::Number(_));
    match (kind, value) {
        (Kind::Text(form), Scalar::Whole(_) | Scalar::Real(_) | Scalar::Bool(_))
            if (form.takes)(&value.to_string()) =>
        {
            Some(format!("Put it in quotes, as `{name}: \"{value}\"`."))
        }
        (_, Scalar::Text(text)) => {
            let text = text.trim();
            let plain = tree::parse(text, Origin::Nowhere).ok().map(|node| node.value);
            match (kind, plain) {
                (_, Some(Value::Scalar(Scalar::Whole(_)))) if number => quotes(name, text),
                (Kind::Number(_), Some(Value::Scalar(Scalar::Real(_)))) => quotes(name, text),
                (Kind::YesNo, Some(Value::Scalar(Scalar::Bool(_)))) => quotes(name, text),
                (Kind::Duration { .. }, Some(Value::Scalar(Scalar::Whole(_) | Scalar::Real(_)))) => {
                    Some(write(name, &format!("{text}s")))
                }
                (Kind::YesNo, _) => truth_of(text).map(|truth| write(name, truth)),
                (Kind::Words(words), _) => {
                    let known: Vec<_> = words.iter().map(|word| word.name).collect();
                    let meant = word(path, text).or_else(|| nearest(text, &known));
                    meant.map(|meant| format!("Did you mean `{meant}`?"))
                }
                _ if whole => digits(text).map(|digits| write(name, &digits)),
                _ => word(path, text).map(|word| format!("Did you mean `{word}`?")),
            }
        }
        // A count in the form of a measure, as 1e6 or 64.0.
        (_, Scalar::Real(real)) if whole && real.fract() == 0.0 && (0.0..1e15).contains(real) => {
            Some(write(name, &format!("{real:.0}")))
        }
        (Kind::Duration { .. }, Scalar::Whole(_) | Scalar::Real(_)) => {
            Some(format!("Write for example `{name}: {}s`.", node.shown()))
        }
        (Kind::Words(_), _) => word(path, &value.to_string()).map(|word| format!("Did you mean `{word}`?")),
        _ => None,
    }
}

/// The last part of a path.
pub fn last(path: &str) -> &str {
    path.rsplit('.').next().unwrap_or(path)
}

fn write(name: &str, value: &str) -> String {
    format!("Write `{name}: {value}`.")
}

fn quotes(name: &str, text: &str) -> Option<String> {
    Some(format!("Remove the quotes, as `{name}: {text}`."))
}

/// `10_000`, `10,000` and `10k` as digits alone.
fn digits(text: &str) -> Option<String> {
    let (number, zeros) = match text.strip_suffix(['k', 'K']) {
        Some(thousands) => (thousands, "000"),
        None => (
            text.strip_suffix(['m', 'M']).unwrap_or(text),
            if text.ends_with(['m', 'M']) { "000000" } else { "" },
        ),
    };
    let digits: String = number.chars().filter(|c| !matches!(c, '_' | ',' | '\'')).collect();
    let all = !digits.is_empty() && digits.len() <= 15 && digits.bytes().all(|byte| byte.is_ascii_digit());
    let changed = !zeros.is_empty() || digits.len() < number.len();
    (all && changed && !digits.starts_with('0')).then(|| digits + zeros)
}

fn truth_of(text: &str) -> Option<&'static str> {
    match text.to_lowercase().as_str() {
        "yes" | "on" | "y" => Some("true"),
        "no" | "off" | "n" => Some("false"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_other_name_is_there_once_and_means_something_that_exists() {
        let mut seen = std::collections::BTreeSet::new();
        for (names, meant) in NAMES {
            for name in names.split(' ') {
                assert!(seen.insert(name), "{name} is there twice");
                assert!(table::find(name).is_none(), "{name} is a field");
            }
            if let Field(path) = meant {
                assert!(table::find(path).is_some(), "{path}");
            }
        }
        for (path, ours, theirs) in WORDS {
            let accepts = table::find(path).expect("it is a field").field.kind.accepts();
            assert!(accepts.contains(ours) || ours.starts_with("cuda:"), "{path}: {ours}; {accepts}");
            assert!(theirs.split(' ').all(|theirs| theirs != *ours), "{path}: {theirs}");
        }
    }

    #[test]
    fn counts_are_read_in_the_forms_that_people_write() {
        for (text, meant) in [("10_000", "10000"), ("10,000", "10000"), ("10k", "10000"), ("2M", "2000000")] {
            assert_eq!(digits(text).as_deref(), Some(meant));
        }
        for text in ["many", "64", "010", "", "k", "1.5k", "-1_000"] {
            assert_eq!(digits(text), None, "{text}");
        }
    }
}
