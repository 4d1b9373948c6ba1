//! From the lines of a manifest to jobs.

use std::any::TypeId;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgMatches, Args, Command, CommandFactory, FromArgMatches, Parser};
use serde_json::{Map, Value, json};

use super::super::console::one_line;
use super::super::{DeviceArgs, Job};
use crate::io::hash::blake3_file;
use crate::io::image::Format;
use crate::io::manifest::Entry;
use crate::layered::Layered;
use crate::model::{SHIPPED, shipped_hash};
use crate::{Error, Result};

/// The command line of one item.
#[derive(Parser)]
#[command(name = "reconstruct", disable_help_subcommand = true)]
struct Line {
    #[command(subcommand)]
    job: Job,
}

/// Options with which every item is run alike, or that have no meaning for one of many.
const OWN: [&str; 4] = ["output", "record", "json", "quiet"];

/// Where results go: a path with `{id}` in it.
#[derive(Clone, Debug)]
pub struct Template(String);

impl std::str::FromStr for Template {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        if !text.contains("{id}") {
            return Err("it must contain {id}, such as out/{id}.npy: every item has a file of its own".into());
        }
        // Whatever the input's format, only the extension decides whether the name will do.
        Format::NpyF32.for_output(text).map_err(|e| e.to_string())?;
        Ok(Self(text.into()))
    }
}

impl Template {
    /// The file of an item. Items of different names have different files: nothing but the name varies.
    pub(super) fn path(&self, id: &str) -> PathBuf {
        self.0.replace("{id}", id).into()
    }
}

/// What an item wants done.
#[derive(Debug)]
pub(in super::super) struct Item {
    pub id: String,
    /// The measurement.
    pub input: PathBuf,
    /// Where the result goes.
    pub output: PathBuf,
    /// The command line by which the item can be done alone.
    pub arguments: Vec<String>,
    /// The work.
    pub job: Job,
    /// Files that its options name, but for the model, which need not be a file.
    pub files: Vec<(String, PathBuf)>,
    /// All other options, defaults too.
    values: Map<String, Value>,
}

impl Item {
    /// The record of the run.
    pub fn record(&self) -> PathBuf {
        self.output.with_extension("run.json")
    }

    /// What says that the item is done.
    pub fn note(&self) -> PathBuf {
        self.output.with_extension("item.json")
    }

    /// A hash of everything that decides the result but the device: contents of all files that are read, all options, models
    /// inside the program and its version. Names and places of files do not matter.
    ///
    /// # Errors
    /// [`Error::Input`] for a file that cannot be read.
    pub fn key(&self) -> Result<String> {
        let mut files = Map::new();
        let named = self.files.iter().map(|(what, path)| (what.as_str(), path.clone()));
        for (what, path) in named.chain(self.job.unnamed_files()) {
            files.insert(what.into(), blake3_file(&path)?.into());
        }
        let of = |path: Option<PathBuf>| {
            Ok::<_, Error>(match path {
                Some(path) if path.exists() => json!({ "file": blake3_file(&path)? }),
                name => json!({ "shipped": name }),
            })
        };
        let (model, denoiser) = (of(self.job.model()?)?, of(self.job.denoiser()?)?);
        let basis = json!({
            "schema": 1,
            "version": env!("CARGO_PKG_VERSION"),
            "shipped": [shipped_hash(), Layered::shipped_hash()],
            "options": self.values,
            "files": files,
            "model": model,
            "denoiser": denoiser,
        });
        Ok(blake3::hash(basis.to_string().as_bytes()).to_hex().to_string())
    }
}

/// An option of the command.
struct Known {
    id: String,
    names_file: bool,
}

/// Turns lines into jobs.
pub(in super::super) struct Items<'a> {
    manifest: &'a Path,
    template: &'a Template,
    /// The command and the options of all items.
    common: &'a [OsString],
    /// Parses lines; what comes later counts.
    line: Command,
    /// By long name.
    options: BTreeMap<String, Known>,
    device: BTreeSet<String>,
}

impl<'a> Items<'a> {
    /// For the items of `manifest`, which share `common`: a command and options.
    ///
    /// # Errors
    /// [`Error::Usage`] for mistakes in `common`.
    pub fn new(manifest: &'a Path, template: &'a Template, common: &'a [OsString]) -> Result<Self> {
        // An item and a place for it are put in, so that only options of items may be missing.
        let (command, shared) = common.split_at(common.len().min(1));
        let stand_in = ["--output=x.npy", "x"].map(OsString::from);
        let trial = command.iter().cloned().chain(stand_in).chain(shared.iter().cloned());
        if let Err(error) = Line::command().try_get_matches_from(program(trial)) {
            match error.kind() {
                ErrorKind::MissingRequiredArgument => {}
                ErrorKind::DisplayHelp | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
                    return Err(Error::Usage(
                        "after -- belongs a reconstruction with its options; `reconstruct --help` lists them".into(),
                    ));
                }
                _ => return Err(Error::Usage(format!("after --: {}", message(&error)))),
            }
        }
        let line = Line::command().args_override_self(true);
        let name = common.first().and_then(|name| name.to_str()).unwrap_or_default();
        let command = line
            .find_subcommand(name)
            .ok_or_else(|| Error::Usage("after -- the command comes first, then its options".into()))?;
        let option = |arg: &clap::Arg| {
            let known = Known {
                id: arg.get_id().to_string(),
                names_file: arg.get_value_parser().type_id() == TypeId::of::<PathBuf>(),
            };
            Some((arg.get_long()?.to_owned(), known))
        };
        let options = command.get_arguments().filter_map(option).collect();
        let device = DeviceArgs::augment_args(Command::new(""))
            .get_arguments()
            .map(|arg| arg.get_id().to_string())
            .collect();
        Ok(Self {
            manifest,
            template,
            common,
            line,
            options,
            device,
        })
    }

    fn batch_has(&self, id: &str) -> bool {
        OWN.contains(&id) || self.device.contains(id)
    }

    /// A path in the manifest is meant from the manifest's folder.
    fn resolve(&self, path: &str) -> PathBuf {
        self.manifest.parent().unwrap_or(Path::new("")).join(path)
    }

    /// `--name=value` for an option of an item.
    fn argument(&self, name: &str, value: Option<&str>) -> std::result::Result<OsString, String> {
        let known = self.options.get(name).ok_or_else(|| {
            let known: Vec<&str> = self
                .options
                .iter()
                .filter(|(_, known)| !self.batch_has(&known.id))
                .map(|(name, _)| name.as_str())
                .collect();
            format!("no option \"{name}\"; there are {}", known.join(", "))
        })?;
        if self.batch_has(&known.id) {
            return Err(format!("\"{name}\" is no option of an item; {}", instead(&known.id)));
        }
        let mut argument = OsString::from(format!("--{name}"));
        if let Some(value) = value {
            argument.push("=");
            let path = self.resolve(value);
            let shipped = || match known.id.as_str() {
                "model" => {
                    value == "default" || SHIPPED.iter().any(|model| model.name == value) || Layered::is_shipped(value)
                }
                "denoiser" => Layered::is_shipped(value),
                _ => false,
            };
            if known.names_file && (path.exists() || !shipped()) {
                argument.push(path);
            } else {
                argument.push(value);
            }
        }
        Ok(argument)
    }

    /// The job of a line.
    ///
    /// # Errors
    /// [`Error::Input`] with the line and what is wrong; [`Error::Usage`] for options that belong to the batch.
    pub fn item(&mut self, entry: &Entry) -> Result<Item> {
        let manifest = self.manifest;
        let refuse = |reason: String| Error::input(manifest, format!("line {}: {reason}", entry.line));
        let output = self.template.path(&entry.id);
        let input = self.resolve(&entry.input);
        let mut arguments = self.common.to_vec();
        for (name, value) in &entry.options {
            arguments.push(self.argument(name, value.as_deref()).map_err(refuse)?);
        }
        let mut place = OsString::from("--output=");
        place.push(&output);
        arguments.extend([place, "--quiet".into(), "--".into(), input.clone().into()]);
        let matches = self
            .line
            .try_get_matches_from_mut(program(arguments.iter().cloned()))
            .map_err(|error| refuse(message(&error)))?;
        let job = Line::from_arg_matches(&matches)
            .map_err(|error| refuse(message(&error)))?
            .job;
        let Some((command, given)) = matches.subcommand() else {
            return Err(Error::Internal("a line without a command".into()));
        };
        let mut item = Item {
            id: entry.id.clone(),
            arguments: arguments.iter().map(|a| a.to_string_lossy().into_owned()).collect(),
            job,
            files: vec![("input".into(), input.clone())],
            input,
            output,
            values: Map::from_iter([("command".to_owned(), command.into())]),
        };
        let unsaid = item.job.unsaid();
        for (name, known) in &self.options {
            if self.batch_has(&known.id) {
                if known.id != "output" && known.id != "quiet" && named(given, &known.id) {
                    return Err(Error::Usage(format!(
                        "--{name} is no option of items; {}",
                        instead(&known.id)
                    )));
                }
                continue;
            }
            // An option that was not given and has no default, here or of its job, has no values.
            let raw = given.get_raw(&known.id).into_iter().flatten();
            if known.names_file {
                // Model and denoiser need not be files; [`Item::key`] asks the job for them.
                let files = raw
                    .filter(|_| known.id != "model" && known.id != "denoiser")
                    .map(PathBuf::from);
                item.files.extend(files.map(|path| (known.id.clone(), path)));
            } else {
                let mut texts: Vec<Value> = raw.map(|text| text.to_string_lossy().into()).collect();
                if texts.is_empty() {
                    let default = unsaid.iter().filter(|(id, _)| *id == known.id);
                    texts.extend(default.map(|(_, value)| Value::from(value.as_str())));
                }
                item.values.insert(known.id.clone(), texts.into());
            }
        }
        Ok(item)
    }
}

/// What to do about an option that items do not have.
fn instead(id: &str) -> &'static str {
    match id {
        "output" | "record" => "results are named by --out-template, and records lie beside them",
        _ => "give it to batch, before --",
    }
}

/// Whether an option was given by the user.
fn named(given: &ArgMatches, id: &str) -> bool {
    given.value_source(id) == Some(ValueSource::CommandLine)
}

fn program(arguments: impl Iterator<Item = OsString>) -> impl Iterator<Item = OsString> {
    std::iter::once(OsString::from("reconstruct")).chain(arguments)
}

/// What the parser says, as a part of a line.
fn message(error: &clap::Error) -> String {
    let line = one_line(&error.render().to_string());
    let line = line.strip_prefix("error: ").unwrap_or(&line);
    line.strip_suffix("; try --help").unwrap_or(line).to_owned()
}
