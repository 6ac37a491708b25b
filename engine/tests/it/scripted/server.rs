//! The HTTP server of the scripted AWS, the record of every call, and the faults that a test
//! injects.
//!
//! A test can hold all responses back, inject a fault at the n-th call of an operation, or change
//! the account without engine's knowledge right before one.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::world::{Call, Reply, World};
use crate::support::Watchdog;

/// How long a test waits for an expected state.
pub(super) const DEADLINE: Duration = Duration::from_secs(30);

/// One recorded call.
#[derive(Debug, Clone)]
pub(super) struct RecordedCall {
    /// The operation, such as `CreateTable`.
    pub(super) operation: String,
    /// Its subject: a name, a UUID or a statement's ID.
    pub(super) about: String,
    /// When it arrived.
    pub(super) start: Instant,
    /// When it was answered, if at all.
    pub(super) end: Option<Instant>,
    /// How many calls were in flight with it, itself included.
    pub(super) in_flight: usize,
    /// The HTTP status; 0 if the connection was cut.
    pub(super) status: u16,
    /// Its body, if that is JSON.
    pub(super) body: serde_json::Value,
}

/// What happens instead of, or after, the execution of a call.
#[derive(Debug, Clone)]
pub(super) enum Fault {
    /// Respond with this reply; don't execute the call.
    Answer(Reply),
    /// Execute the call, but respond with this reply.
    DoneButAnswer(Reply),
    /// Execute the call, but edit its response.
    DoneButEdited(Edit),
    /// Execute the call, but cut the connection before the response.
    DoneButCut,
    /// Cut the connection before the call is executed.
    Cut,
    /// Neither execute the call nor ever respond.
    Silence,
}

/// An edit of a response's body.
#[derive(Clone)]
pub(super) struct Edit(Arc<dyn Fn(&str) -> String + Send + Sync>);

impl Edit {
    pub(super) fn new(edit: impl Fn(&str) -> String + Send + Sync + 'static) -> Edit {
        Edit(Arc::new(edit))
    }
}

impl std::fmt::Debug for Edit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Edit")
    }
}

type Hook = Box<dyn FnOnce(&mut World) + Send>;

/// Observes every executed call, with the account right before and after it, and may change the
/// account before.
pub(super) trait Witness: Send {
    /// A reply instead of the call's execution.
    fn verdict(&mut self, _: &Call, _: &World) -> Option<Reply> {
        None
    }

    fn before(&mut self, _: &Call, _: &mut World) {}

    fn after(&mut self, _: &Call, _: &World, _: u16) {}
}

struct Shared {
    state: Mutex<State>,
    open: watch::Sender<usize>,
}

struct State {
    world: World,
    calls: Vec<RecordedCall>,
    counts: HashMap<String, usize>,
    faults: Vec<(String, std::ops::Range<usize>, Fault)>,
    hooks: Vec<(String, usize, Hook)>,
    witness: Option<Box<dyn Witness>>,
    in_flight: usize,
    /// Whether responses are held back.
    held: bool,
}

/// A scripted AWS that runs until it is dropped.
pub(crate) struct Cloud {
    /// The URL on which it listens.
    pub(crate) url: String,
    shared: Arc<Shared>,
    /// Dropping it ends the server's thread.
    _stop: Option<tokio::sync::oneshot::Sender<()>>,
    _watchdog: Watchdog,
}

impl Cloud {
    /// Starts on a separate thread with its own runtime, for the real binary.
    pub(crate) fn start(world: World) -> Cloud {
        let shared = Shared::new(world);
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let (sender, address) = std::sync::mpsc::channel();
        let served = Arc::clone(&shared);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                sender.send(listener.local_addr().unwrap()).unwrap();
                tokio::select! {
                    () = serve(listener, served) => {}
                    // Ends with an error when the sender is dropped, which is the signal.
                    _ = stopped => {}
                }
            });
        });
        let url = format!("http://{}", address.recv_timeout(DEADLINE).unwrap());
        Cloud { url, shared, _stop: Some(stop), _watchdog: Watchdog::start() }
    }

    /// Starts as a task of the current runtime, whose clock may be paused.
    pub(super) async fn on_current_runtime(world: World) -> Cloud {
        let shared = Shared::new(world);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(serve(listener, Arc::clone(&shared)));
        Cloud { url, shared, _stop: None, _watchdog: Watchdog::start() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap()
    }

    /// Reads or changes the account.
    pub(crate) fn world<T>(&self, look: impl FnOnce(&mut World) -> T) -> T {
        look(&mut self.state().world)
    }

    /// All calls so far, in order.
    pub(super) fn calls(&self) -> Vec<RecordedCall> {
        self.state().calls.clone()
    }

    /// How often an operation was called.
    pub(super) fn count(&self, operation: &str) -> usize {
        self.state().counts.get(operation).copied().unwrap_or_default()
    }

    /// The writes that AWS accepted, each with the members of its request in alphabetical order,
    /// without those that only identify the resource or the revision that was read.
    pub(crate) fn sent(&self) -> Vec<String> {
        let taken = self.calls().into_iter().filter(|call| super::is_write(call) && call.status < 400);
        let sent = taken.map(|call| {
            let identity = [
                "FunctionName",
                "QueueName",
                "QueueUrl",
                "ResourceArn",
                "RevisionId",
                "TableName",
                "logGroupName",
                "resourceArn",
            ];
            // Each of SQS's attributes counts as a member.
            let members = call.body.as_object().into_iter().flatten();
            let members = members.flat_map(|(name, value)| match (name.as_str(), value.as_object()) {
                ("Attributes", Some(attributes)) => attributes.keys().map(String::as_str).collect(),
                (name, _) => vec![name],
            });
            let mut members: Vec<&str> = members.filter(|name| !identity.contains(name)).collect();
            members.sort_unstable();
            let operation = call.operation.replace("TagTable", "TagResource").replace("TagLogGroup", "TagResource");
            [operation.as_str()].into_iter().chain(members).collect::<Vec<_>>().join(" ")
        });
        sent.collect()
    }

    /// Clears the recorded calls and the injected faults.
    pub(crate) fn forget(&self) {
        let mut state = self.state();
        state.calls.clear();
        state.counts.clear();
        state.faults.clear();
        state.hooks.clear();
    }

    /// Injects a fault at some calls of an operation, counted from 1.
    pub(super) fn fault(&self, operation: &str, calls: std::ops::Range<usize>, fault: Fault) {
        self.state().faults.push((operation.to_owned(), calls, fault));
    }

    /// Returns a copy of the fault injected for an operation, to inject it elsewhere.
    pub(super) fn take_fault(&self, operation: &str) -> Fault {
        let state = self.state();
        let (_, _, fault) = state.faults.iter().find(|(name, ..)| name == operation).unwrap();
        fault.clone()
    }

    /// Injects a fault at every call of an operation.
    pub(super) fn always(&self, operation: &str, fault: Fault) {
        self.fault(operation, 1..usize::MAX, fault);
    }

    /// Changes the account right before the n-th call of an operation, counted from 1.
    pub(super) fn before(&self, operation: &str, call: usize, hook: impl FnOnce(&mut World) + Send + 'static) {
        self.state().hooks.push((operation.to_owned(), call, Box::new(hook)));
    }

    /// Lets `witness` observe every call from now on; `None` stops that.
    pub(super) fn watch(&self, witness: Option<Box<dyn Witness>>) {
        self.state().witness = witness;
    }

    /// Holds every response back until [`Cloud::release`].
    pub(crate) fn hold(&self) {
        self.state().held = true;
    }

    /// Waits until all reads of an apply of the default spec in an empty account are held.
    pub(crate) fn held_reads(&self) {
        self.held(14);
    }

    /// Waits until that many calls are held, and returns them in alphabetical order.
    pub(crate) fn held(&self, calls: usize) -> Vec<String> {
        let names = || {
            let state = self.state();
            let mut names: Vec<String> = state.calls.iter().filter(|call| call.end.is_none()).map(named).collect();
            names.sort();
            names
        };
        until(&format!("{calls} calls in flight"), names, |names| names.len() >= calls)
    }

    /// Sends all responses that are held now, and waits until they are sent; later calls are held
    /// again.
    pub(crate) fn release(&self) {
        let waiting = self.calls().iter().filter(|call| call.end.is_none()).count();
        let answered = self.calls().len() - waiting;
        self.shared.open.send_modify(|wave| *wave += 1);
        let left = || self.calls().iter().filter(|call| call.end.is_some()).count();
        until("the held answers to leave", left, |left| *left >= answered + waiting);
    }

    /// Sends held responses, wave by wave, until a call is held that starts with `start`.
    pub(super) fn release_until(&self, start: &str) {
        let deadline = Instant::now() + DEADLINE;
        while !self.held(1).iter().any(|call| call.starts_with(start)) {
            assert!(Instant::now() < deadline, "waited in vain for {start}; last held: {:?}", self.held(1));
            self.release();
        }
    }

    /// Sends all responses, now and later.
    pub(crate) fn let_go(&self) {
        self.state().held = false;
        self.shared.open.send_modify(|wave| *wave += 1);
    }

    /// Waits until an operation has been called that many times.
    pub(super) fn wait_for(&self, operation: &str, calls: usize) {
        until(&format!("call {calls} of {operation}"), || self.count(operation), |count| *count >= calls);
    }
}

impl Drop for Cloud {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let strange: Vec<String> =
                self.calls().into_iter().filter(|call| call.operation == "?").map(|call| call.about).collect();
            assert!(strange.is_empty(), "requests that no AWS would know: {strange:?}");
        }
    }
}

/// The call as text, such as `CreateTable blue-owls-todos`.
pub(super) fn named(call: &RecordedCall) -> String {
    format!("{} {}", call.operation, call.about).trim_end().to_owned()
}

/// Polls until `done`, or fails with the last value.
pub(super) fn until<T: std::fmt::Debug>(what: &str, look: impl Fn() -> T, done: impl Fn(&T) -> bool) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let seen = look();
        if done(&seen) {
            return seen;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}; last seen: {seen:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

impl Shared {
    fn new(world: World) -> Arc<Shared> {
        let state = State {
            world,
            calls: Vec::new(),
            counts: HashMap::new(),
            faults: Vec::new(),
            hooks: Vec::new(),
            witness: None,
            in_flight: 0,
            held: false,
        };
        Arc::new(Shared { state: Mutex::new(state), open: watch::Sender::new(0) })
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let service = service_fn(move |request| answer(Arc::clone(&shared), request));
            // An error here means that the test or engine cut the connection.
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

/// An error of a handler makes hyper close the connection without a response.
#[derive(Debug)]
struct LineCut;

impl std::fmt::Display for LineCut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the line is cut")
    }
}

impl std::error::Error for LineCut {}

impl From<Infallible> for LineCut {
    fn from(never: Infallible) -> LineCut {
        match never {}
    }
}

/// The start of the path of a function's package.
const DOWNLOAD: &str = "/archive/";

async fn answer(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, LineCut> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(|_| LineCut)?.to_bytes();
    if let Some(function) = head.uri.path().strip_prefix(DOWNLOAD) {
        let archive = shared.state.lock().unwrap().world.archive(function);
        let status = if archive.is_some() { 200 } else { 404 };
        return Ok(Response::builder().status(status).body(Full::new(archive.unwrap_or_default())).unwrap());
    }
    let call = Call::parse(&head, &body);
    // A call that arrives while responses are held waits for the next release.
    let mut waves = shared.open.subscribe();
    let wave = *waves.borrow_and_update();
    let (index, fault, held) = {
        let mut state = shared.state.lock().unwrap();
        state.in_flight += 1;
        let record = RecordedCall {
            operation: call.operation.to_owned(),
            about: call.about.clone(),
            start: Instant::now(),
            end: None,
            in_flight: state.in_flight,
            status: 0,
            body: call.body.clone(),
        };
        state.calls.push(record);
        let count = state.counts.entry(call.operation.to_owned()).or_default();
        *count += 1;
        let count = *count;
        let due = |(operation, at, _): &mut (String, usize, Hook)| operation == call.operation && *at == count;
        let hooks: Vec<_> = state.hooks.extract_if(.., due).collect();
        for (_, _, hook) in hooks {
            hook(&mut state.world);
        }
        let fault =
            state.faults.iter().find(|(operation, calls, _)| operation == call.operation && calls.contains(&count));
        let fault = fault.map(|(_, _, fault)| fault.clone());
        let is_dark = state.world.dark_until.is_some_and(|until| tokio::time::Instant::now() < until);
        let fault = if is_dark { Some(Fault::Cut) } else { fault };
        (state.calls.len() - 1, fault, state.held)
    };
    let executes = !matches!(fault, Some(Fault::Answer(_) | Fault::Cut | Fault::Silence));
    let reply = executes.then(|| {
        let State { world, witness, .. } = &mut *shared.state.lock().unwrap();
        if let Some(witness) = witness {
            witness.before(&call, world);
            if let Some(reply) = witness.verdict(&call, world) {
                return reply;
            }
        }
        let reply = world.execute(&call);
        if let Some(witness) = witness {
            witness.after(&call, world, reply.status);
        }
        reply
    });
    if held {
        // The sender lives in `shared`, so this can't fail.
        let _ = waves.wait_for(|now| *now > wave).await;
    }
    if matches!(fault, Some(Fault::Silence)) {
        std::future::pending::<()>().await;
    }
    let reply = match fault {
        Some(Fault::Answer(reply) | Fault::DoneButAnswer(reply)) => Some(reply),
        Some(Fault::DoneButEdited(edit)) => reply.map(|reply| reply.edited(&*edit.0)),
        Some(Fault::DoneButCut | Fault::Cut | Fault::Silence) => None,
        None => reply,
    };
    let mut state = shared.state.lock().unwrap();
    state.in_flight -= 1;
    // A test may have cleared the calls meanwhile.
    if let Some(record) = state.calls.get_mut(index) {
        record.end = Some(Instant::now());
        record.status = reply.as_ref().map_or(0, |reply| reply.status);
    }
    let date = state.world.date;
    drop(state);
    // This server also has the buckets.
    let host = head.headers.get("host").and_then(|host| host.to_str().ok()).unwrap_or_default();
    let here = format!("http://{host}{DOWNLOAD}");
    let reply = reply.map(|reply| reply.edited(&|text| text.replace("https://s3/", &here)));
    let mut response = reply.map(Reply::into_response).ok_or(LineCut)?;
    if let Some(date) = date {
        response.headers_mut().insert("date", date.parse().unwrap());
    }
    Ok(response)
}
