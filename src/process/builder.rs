//! What a child is to be, before it is started.

#[cfg(feature = "serde")]
use super::entry;
use super::fork;
use super::handle::Process;
use super::identity::{name_of_child, next_number};
#[cfg(feature = "serde")]
use super::method::{self, StartMethod};
use super::outcome::Outcome;
use super::setup::{Group, Resource, Setup, Stream};
use crate::Result;
use crate::sys::fork::epoch;
use crate::sys::setup::Kind;
use std::ffi::OsStr;
use std::fmt;
use std::os::fd::OwnedFd;
use std::path::Path;

/// Work for a child process, with what it needs. It is started by fork ([`Process::run`]), or, where it can
/// be serialised, by either method (`Builder::call_runnable`).
///
/// # Examples
/// ```
/// use commons::process::{self, Process, Runnable};
///
/// struct Worker {
///     number: u64,
/// }
///
/// impl Runnable for Worker {
///     type Output = String;
///
///     fn run(self) -> String {
///         format!("{} works on {}", process::current().name(), self.number)
///     }
/// }
///
/// let child = Process::run(Worker { number: 7 })?;
/// assert_eq!(child.join()?, "Worker-1 works on 7");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Runnable: Send + 'static {
    /// What it gives.
    type Output: Outcome;

    /// Does the work, in the child.
    fn run(self) -> Self::Output;
}

/// What a child is to be. Made by [`Process::builder`].
///
/// Its number in default names is taken when the builder is made, whether it starts anything or not.
///
/// # Examples
/// ```
/// use commons::process::{self, Process};
///
/// let child = Process::builder().name("a service").spawn(|| process::current().to_string())?;
/// assert!(child.join()?.starts_with("<Process name='a service'"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use = "a builder starts nothing by itself"]
pub struct Builder {
    pub(super) number: u32,
    /// The process that made it.
    pub(super) epoch: u32,
    pub(super) name: Option<String>,
    pub(super) kind: &'static str,
    pub(super) daemon: bool,
    pub(super) refuse_threads: bool,
    #[cfg(feature = "serde")]
    pub(super) method: Option<StartMethod>,
    /// What an exec runs; `None`: this program.
    #[cfg(feature = "serde")]
    pub(super) executable: Option<std::path::PathBuf>,
    /// What an exec is given; `None`: what this process was given.
    #[cfg(feature = "serde")]
    pub(super) arguments: Option<Vec<std::ffi::OsString>>,
    pub(super) setup: Setup,
}

impl Builder {
    pub(super) fn new() -> Self {
        Builder {
            number: next_number(),
            epoch: epoch(),
            name: None,
            kind: "Process",
            daemon: false,
            refuse_threads: false,
            #[cfg(feature = "serde")]
            method: None,
            #[cfg(feature = "serde")]
            executable: None,
            #[cfg(feature = "serde")]
            arguments: None,
            setup: Setup::default(),
        }
    }

    /// The child's name, for logs and people; names need not be unique. Without one it is called
    /// `Process-N`, the `N`th that this process built, and its own children `Process-N:1`,
    /// `Process-N:2`.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Makes the child a daemon: one that nobody waits for, and that ends with this process.
    ///
    /// When this process ends in an orderly way, its daemons are asked to end (SIGTERM), and killed
    /// when all its other children have ended, at the earliest after a second. When it ends in any
    /// other way, by SIGKILL also, or becomes another program (`exec`), they are killed at once by the
    /// kernel. The end of the thread that started them is not the end of the process. A daemon that becomes
    /// another program, or closes descriptors that are not its own, is no daemon from then on.
    ///
    /// A daemon may not start children.
    pub fn daemon(mut self) -> Self {
        self.daemon = true;
        self
    }

    /// Refuses to fork while other threads run: see "Threads" at [`Process::spawn`]. The start is
    /// [`Error::Threads`](crate::Error::Threads) then.
    pub fn refuse_threads(mut self) -> Self {
        self.refuse_threads = true;
        self
    }

    /// Gives the child this standard input. Without one it is the null device.
    ///
    /// What [`std::io::stdin`] of this process has read already and holds, a forked child's has, too.
    pub fn stdin(self, input: impl Into<OwnedFd>) -> Self {
        self.stream(0, Stream::From(input.into()))
    }

    /// Leaves the child the standard input of this process.
    pub fn inherit_stdin(self) -> Self {
        self.stream(0, Stream::Inherited)
    }

    /// Gives the child this standard output. Without one it is that of this process.
    ///
    /// This process has no copy of the descriptor once the child was started: where it is the writing end
    /// of a pipe, the reader finds the end of the file when the child, and what that has started, has
    /// ended. What this process has printed before is printed here, and not in the child. A
    /// descriptor that cannot be set is an error of the start.
    ///
    /// # Examples
    /// ```
    /// use commons::Process;
    /// use std::io::{self, Read, Write};
    ///
    /// let (mut reader, writer) = io::pipe()?;
    /// let child = Process::builder()
    ///     .stdout(writer.try_clone()?)
    ///     .stderr(writer)
    ///     .spawn(|| write!(io::stdout(), "printed").is_ok())?;
    /// let mut text = String::new();
    /// reader.read_to_string(&mut text)?;
    /// assert_eq!(text, "printed");
    /// assert!(child.join()?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn stdout(self, output: impl Into<OwnedFd>) -> Self {
        self.stream(1, Stream::From(output.into()))
    }

    /// Sends what the child prints nowhere: its standard output is the null device.
    pub fn null_stdout(self) -> Self {
        self.stream(1, Stream::Null)
    }

    /// Gives the child this standard error, where the line of a panic goes, too. Without one it is that
    /// of this process. As [`Builder::stdout`] otherwise.
    pub fn stderr(self, errors: impl Into<OwnedFd>) -> Self {
        self.stream(2, Stream::From(errors.into()))
    }

    /// Sends what the child says on standard error nowhere. Its parent is told of a panic all the same.
    pub fn null_stderr(self) -> Self {
        self.stream(2, Stream::Null)
    }

    fn stream(mut self, number: usize, stream: Stream) -> Self {
        self.setup.streams.0[number] = stream;
        self
    }

    /// Starts the child in this directory.
    pub fn current_dir(mut self, directory: impl AsRef<Path>) -> Self {
        self.setup.directory = Some(directory.as_ref().to_owned());
        self
    }

    /// Sets a variable of the child's environment, which otherwise is that of this process.
    pub fn env(mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        let value = Some(value.as_ref().to_owned());
        self.setup.variables.push((key.as_ref().to_owned(), value));
        self
    }

    /// Removes a variable from the child's environment.
    pub fn env_remove(mut self, key: impl AsRef<OsStr>) -> Self {
        self.setup.variables.push((key.as_ref().to_owned(), None));
        self
    }

    /// Begins the child's environment with nothing.
    pub fn env_clear(mut self) -> Self {
        self.setup.clear = true;
        self.setup.variables.clear();
        self
    }

    /// Sets how much the child yields to other processes: from -20, which takes privileges, to 19.
    pub fn niceness(mut self, niceness: i32) -> Self {
        self.setup.niceness = Some(niceness);
        self
    }

    /// Gives the child the default action of every signal that this process handles, and blocks none of them.
    ///
    /// Signals that this process ignores stay ignored. Without this, a forked child has the handlers and the
    /// mask of the thread that starts it. One that is started by exec has neither in any case.
    pub fn default_signals(mut self) -> Self {
        self.setup.default_signals = true;
        self
    }

    /// Lets the child run on these processors only, by their numbers from 0.
    pub fn affinity(mut self, processors: impl IntoIterator<Item = usize>) -> Self {
        self.setup.affinity = Some(processors.into_iter().collect());
        self
    }

    /// Lets the child use this much of a resource at most; [`u64::MAX`]: any amount.
    ///
    /// It is the soft limit and the hard one: the child cannot raise it again without privileges. So it
    /// cannot be above the hard limit of this process, which is an error of the start.
    pub fn limit(mut self, resource: Resource, amount: u64) -> Self {
        self.setup.limits.push((resource, amount, Kind::Both));
        self
    }

    /// Lets the child use this much of a resource until it allows itself more: the soft limit, which it
    /// may raise to the hard one. The hard one is that of this process, or of an earlier
    /// [`Builder::limit`]. An amount above that is an error of the start.
    ///
    /// # Examples
    /// ```
    /// use commons::process::{Process, Resource};
    ///
    /// let builder = Process::builder().limit(Resource::OpenFiles, 80);
    /// let child = builder.limit_soft(Resource::OpenFiles, 40).spawn(|| {
    ///     let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
    ///     let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    ///     line.split_whitespace().skip(3).take(2).map(str::to_owned).collect::<Vec<_>>()
    /// })?;
    /// assert_eq!(child.join()?, ["40", "80"]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn limit_soft(mut self, resource: Resource, amount: u64) -> Self {
        self.setup.limits.push((resource, amount, Kind::Soft));
        self
    }

    /// Sets which rights files that the child makes do not have: its umask, such as `0o077`. Without it,
    /// it is that of this process.
    pub fn umask(mut self, mask: u32) -> Self {
        self.setup.umask = Some(mask);
        self
    }

    /// Starts the child in this process group, by the id of its first process; 0: in a new one, which has
    /// the child's id. Without it, it is in that of this process. It is there when the start returns. A
    /// group that there is not in the session of this process is an error of the start.
    ///
    /// # Ctrl-C
    /// A terminal sends SIGINT (and SIGQUIT, SIGTSTP for other keys) to its foreground group: to this
    /// process and to the children that are in its group. A child in another one gets none of it: it is
    /// up to this process to end it ([`Child::interrupt`](super::Child::interrupt)). If Ctrl-C ends this
    /// process, which is no orderly end, such a child lives on, unless it is a
    /// [daemon](Builder::daemon). It is in the background: where it reads from the terminal (only with
    /// [`Builder::inherit_stdin`]), it is stopped.
    ///
    /// The last of `process_group` and [`Builder::new_session`] counts.
    ///
    /// # Examples
    /// ```
    /// use commons::Process;
    ///
    /// fn group() -> u64 {
    ///     let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    ///     stat.rsplit(')').next().unwrap().split_whitespace().nth(2).unwrap().parse().unwrap()
    /// }
    ///
    /// let child = Process::builder().process_group(0).spawn(group)?;
    /// let id = u64::from(child.pid());
    /// assert_eq!(child.join()?, id);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn process_group(mut self, id: u32) -> Self {
        self.setup.group = Group::Process(id);
        self
    }

    /// Starts the child as the first of a new session, and of a new process group in that, without a
    /// terminal.
    ///
    /// Ctrl-C is as for [`Builder::process_group`]. Nor is the child told (SIGHUP) when the terminal
    /// goes, or the shell that this process was started by. A daemon ends with this process all the same.
    pub fn new_session(mut self) -> Self {
        self.setup.group = Group::NewSession;
        self
    }

    /// By which method [`Builder::call`] starts the child; without it, by that of the process
    /// ([`start_method`](super::start_method)). Closures are always started by fork.
    #[cfg(feature = "serde")]
    pub fn start_method(mut self, method: StartMethod) -> Self {
        self.method = Some(method);
        self
    }

    /// What a child is to run that is started by exec, by its path: this program, which is what is run
    /// without it, or a copy of it. In another program the function cannot be found.
    #[cfg(feature = "serde")]
    pub fn executable(mut self, path: impl AsRef<Path>) -> Self {
        self.executable = Some(path.as_ref().to_owned());
        self
    }

    /// The command line of a child that is started by exec, the name of the program first; without it,
    /// that of this process.
    #[cfg(feature = "serde")]
    pub fn command_line<I, S>(mut self, arguments: I) -> Self
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        self.arguments = Some(arguments.into_iter().map(|a| a.as_ref().to_owned()).collect());
        self
    }

    /// Starts a child process that runs `f`: see [`Process::spawn`].
    ///
    /// # Errors
    /// As [`Process::spawn`].
    pub fn spawn<F, R>(self, f: F) -> Result<Process<R>>
    where
        F: FnOnce() -> R + Send + 'static,
        R: Outcome,
    {
        fork::start(self, f)
    }

    /// Starts a child process that runs `f`, which may borrow: see [`Process::spawn_borrowing`].
    ///
    /// # Safety
    /// As [`Process::spawn_borrowing`].
    ///
    /// # Errors
    /// As [`Process::spawn`].
    #[allow(unsafe_code, reason = "what is borrowed may be shared")]
    pub unsafe fn spawn_borrowing<F, R>(self, f: F) -> Result<Process<R>>
    where
        F: FnOnce() -> R + Send,
        R: Outcome,
    {
        fork::start(self, f)
    }

    /// Starts a child process that calls `f` with `argument`: see [`Process::call`].
    ///
    /// # Errors
    /// As [`Process::call`].
    #[cfg(feature = "serde")]
    pub fn call<A, R>(self, f: fn(A) -> R, argument: A) -> Result<Process<R>>
    where
        A: serde::Serialize + serde::de::DeserializeOwned + Send + 'static,
        R: Outcome,
    {
        match self.method.unwrap_or_else(method::start_method) {
            StartMethod::Fork => fork::start(self, move || f(argument)),
            StartMethod::Exec => entry::start(self, f, argument),
        }
    }

    /// Starts a child process that runs `work`. Without a name it has that of the type in the place
    /// of `Process`: `Worker-1`.
    ///
    /// # Errors
    /// As [`Process::spawn`].
    pub fn run<W: Runnable>(self, work: W) -> Result<Process<W::Output>> {
        fork::start(self.named_as::<W>(), move || work.run())
    }

    /// The same by the start method, as [`Builder::call`] has it: also by exec, with work that can be
    /// serialised. (`call(Worker::run, worker)` is that, with a name like any other child's.)
    ///
    /// # Errors
    /// As [`Process::call`].
    ///
    /// # Examples
    /// ```
    /// use commons::process::{self, Process, Runnable, StartMethod};
    /// use serde::{Deserialize, Serialize};
    ///
    /// #[derive(Serialize, Deserialize)]
    /// struct Worker {
    ///     number: u64,
    /// }
    ///
    /// impl Runnable for Worker {
    ///     type Output = String;
    ///
    ///     fn run(self) -> String {
    ///         format!("{} works on {}", process::current().name(), self.number)
    ///     }
    /// }
    ///
    /// fn main() -> Result<(), Box<dyn std::error::Error>> {
    ///     process::entry();
    ///     let builder = Process::builder().start_method(StartMethod::Exec);
    ///     let child = builder.call_runnable(Worker { number: 7 })?;
    ///     assert_eq!(child.join()?, "Worker-1 works on 7");
    ///     Ok(())
    /// }
    /// ```
    #[cfg(feature = "serde")]
    pub fn call_runnable<W>(self, work: W) -> Result<Process<W::Output>>
    where
        W: Runnable + serde::Serialize + serde::de::DeserializeOwned,
    {
        self.named_as::<W>().call(W::run, work)
    }

    /// Has a child without a name called after a type.
    fn named_as<W>(mut self) -> Self {
        let path = std::any::type_name::<W>();
        let path = path.split('<').next().unwrap_or(path);
        self.kind = path.rsplit("::").next().unwrap_or(path);
        self
    }
}

impl fmt::Display for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parent = std::process::id();
        let name = self.name.clone().unwrap_or_else(|| name_of_child(self.kind, self.number));
        write!(f, "<Process name='{name}' parent={parent} initial>")
    }
}
