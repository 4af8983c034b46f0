//! `runlet up`: starts supervisor and gateway as processes of their own, keeps them alive, and ends them in order.
//!
//! Start with [`launch`]. The children are told apart from those a person starts by an environment variable, see [`child::follow_launcher`].

mod announce;
mod backoff;
pub(crate) mod child;
mod keeper;
mod ready;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

use nix::sys::signal::Signal;
use runlet_proto::control::{Request, SourceText};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use self::announce::Announcement;
use self::child::{Child, Kind, Program};
use self::keeper::{Kept, keep};
use crate::args::{LogChoice, SupervisorOptions};
use crate::client::Client;
use crate::command::CommandError;
use crate::command::deploy::{Deployed, deploy, refused};
use crate::demo::{self, Shop, examples};
use crate::exit_code::ExitCode;
use crate::limits::{GATEWAY_STOP_TIMEOUT, SUPERVISOR_STOP_GRACE};
use crate::output::{Format, note};
use crate::paths;

/// What is to be brought up.
#[derive(Debug)]
pub(crate) struct Launch {
    /// How the announcement is printed.
    pub(crate) format: Format,
    /// State directory of the supervisor.
    pub(crate) state: PathBuf,
    /// What else the supervisor is told.
    pub(crate) options: SupervisorOptions,
    /// What both are told to log.
    pub(crate) log: LogChoice,
    /// The configuration file that was named.
    pub(crate) config: Option<PathBuf>,
    /// Where the gateway listens.
    pub(crate) listen: SocketAddr,
    /// Where the gateway serves operators.
    pub(crate) admin: Option<SocketAddr>,
    /// What is deployed, checked already.
    pub(crate) sources: Vec<SourceText>,
    /// Whether the shop is served too.
    pub(crate) demo: bool,
}

impl Launch {
    /// The arguments of both children.
    fn common(&self) -> Vec<OsString> {
        let config = self.config.iter().flat_map(|file| ["--config".into(), file.clone().into()]);
        self.log.arguments().into_iter().chain(config).collect()
    }
}

/// Brings everything up, stays until a signal, and takes it down.
///
/// # Errors
/// [`CommandError`] when something of it could not be brought up; nothing is left running then.
pub(crate) async fn launch(mut launch: Launch) -> Result<ExitCode, CommandError> {
    let mut signals = signals()?;
    let up = tokio::select! {
        up = bring_up(&mut launch) => up?,
        _ = signals.recv() => return Ok(ExitCode::Interrupted),
    };
    let (supervisor, gateway) = match up {
        Up::Running { supervisor, gateway } => (supervisor, gateway),
        Up::NotTaken(code) => return Ok(code),
    };
    let _ = signals.recv().await;
    note("stopping: the gateway first, then the supervisor; Ctrl-C again kills both");
    gateway.stop();
    let down = async {
        gateway.ended().await;
        if launch.demo {
            remove_demo(paths::socket_in(&launch.state)).await;
        }
        supervisor.stop();
        supervisor.ended().await;
    };
    tokio::pin!(down);
    tokio::select! {
        () = &mut down => return Ok(ExitCode::Ok),
        _ = signals.recv() => {}
    }
    gateway.kill();
    supervisor.kill();
    down.await;
    Ok(ExitCode::Interrupted)
}

/// What came of bringing everything up.
enum Up {
    /// Everything runs.
    Running { supervisor: Kept, gateway: Kept },
    /// A definition was refused, and told; nothing runs.
    NotTaken(ExitCode),
}

/// The supervisor, then all the rest; a supervisor without the rest is not left behind.
async fn bring_up(launch: &mut Launch) -> Result<Up, CommandError> {
    if launch.demo {
        open_shop(launch).await?;
    }
    let kind = Kind::Supervisor { state: launch.state.clone(), options: launch.options.clone() };
    let program = Program { kind, common: launch.common() };
    let sources = std::mem::take(&mut launch.sources);
    let (supervisor, _) = Child::start(&program).await?;
    let gateway = match bring_up_rest(launch, sources).await {
        Ok(gateway) => gateway,
        Err(error) => {
            supervisor.end(SUPERVISOR_STOP_GRACE).await;
            return match error {
                NotUp::NotTaken(code) => Ok(Up::NotTaken(code)),
                NotUp::Error(error) => Err(error),
            };
        }
    };
    let supervisor = keep(program, supervisor, launch.options.drain + SUPERVISOR_STOP_GRACE);
    Ok(Up::Running { supervisor, gateway })
}

/// Why the rest is not up.
enum NotUp {
    NotTaken(ExitCode),
    Error(CommandError),
}

impl From<CommandError> for NotUp {
    fn from(error: CommandError) -> Self {
        Self::Error(error)
    }
}

/// The definitions, then the gateway: whoever sees its port open finds the hooks behind it.
async fn bring_up_rest(launch: &Launch, sources: Vec<SourceText>) -> Result<Kept, NotUp> {
    let socket = paths::socket_in(&launch.state);
    let (deployed, code) = deploy_all(socket.clone(), sources, launch.format).await?;
    if code != ExitCode::Ok {
        return Err(NotUp::NotTaken(code));
    }
    let kind = Kind::Gateway { listen: launch.listen, admin: launch.admin, socket: socket.clone() };
    let (child, said) = Child::start(&Program { kind, common: launch.common() }).await?;
    let address: SocketAddr = said.parse().map_err(|_| CommandError::Failed {
        message: format!("the gateway is ready at `{said}`, which is no address"),
        help: None,
    })?;
    Announcement::new(address, &socket, launch.demo, &deployed).print(launch.format)?;
    // The address it really got, so that the printed URLs hold after a restart.
    let program =
        Program { kind: Kind::Gateway { listen: address, admin: launch.admin, socket }, common: launch.common() };
    Ok(keep(program, child, GATEWAY_STOP_TIMEOUT))
}

/// Opens the shop, and has the supervisor trust it.
async fn open_shop(launch: &mut Launch) -> Result<(), CommandError> {
    let shop = Shop::open().await.map_err(|error| CommandError::Failed {
        message: error.to_string(),
        help: Some("end the other program (`ss -ltnp 'sport = :4000'` names it), or leave --demo out".to_owned()),
    })?;
    let file = demo::write_authority(&launch.state, shop.authority_pem(), launch.options.ca_file.as_deref()).map_err(
        |error| CommandError::Failed {
            message: format!("cannot put the demo shop's certificate into {}: {error}", launch.state.display()),
            help: Some("give another directory with --state".to_owned()),
        },
    )?;
    launch.options.ca_file = Some(file);
    shop.serve();
    Ok(())
}

/// Deploys everything and tells every refusal. The blocking client gets a thread of its own: the shop lives in this one.
async fn deploy_all(
    socket: PathBuf,
    sources: Vec<SourceText>,
    format: Format,
) -> Result<(Vec<Deployed>, ExitCode), CommandError> {
    let work = move || {
        let mut deployed = Vec::with_capacity(sources.len());
        let mut code = ExitCode::Ok;
        let mut client = Client::connect(&socket)?;
        for source in sources {
            match deploy(&mut client, source.clone()) {
                Ok(one) => deployed.push(one),
                Err(CommandError::Refused(refusal)) => code = code.or(refused(format, source, refusal)?),
                Err(error) => return Err(error),
            }
        }
        Ok((deployed, code))
    };
    spawn_blocking(work)
        .await
        .map_err(|error| CommandError::Failed { message: format!("deploying failed: {error}"), help: None })?
}

/// The examples of the demo need its shop: they are not left to the next supervisor.
async fn remove_demo(socket: PathBuf) {
    let work = move || {
        let mut client = Client::connect(&socket)?;
        for source in examples::all() {
            // A definition that could be deployed has a name, by its text or by its file.
            if let Ok(definition) = runlet_workflow::parse(&source.file, &source.text) {
                // It may have been removed by hand.
                let _ = client.call(Request::Remove { workflow: definition.name });
            }
        }
        Ok::<_, CommandError>(())
    };
    // What ends before it, or removed one already, is as good.
    let _ = spawn_blocking(work).await;
}

/// Ctrl-C and SIGTERM, one after the other. SIGHUP keeps its meaning: `nohup` may have switched it off, and the children
/// follow a launcher that it ends.
fn signals() -> Result<mpsc::Receiver<Signal>, CommandError> {
    // Two is all that is ever acted on; more of them say nothing new.
    let (sender, receiver) = mpsc::channel(2);
    for (kind, name) in [(SignalKind::interrupt(), Signal::SIGINT), (SignalKind::terminate(), Signal::SIGTERM)] {
        let mut stream = signal(kind).map_err(|error| CommandError::Failed {
            message: format!("cannot wait for {name}: {error}"),
            help: None,
        })?;
        let sender = sender.clone();
        tokio::spawn(async move {
            while stream.recv().await.is_some() {
                let _ = sender.try_send(name);
            }
        });
    }
    Ok(receiver)
}
