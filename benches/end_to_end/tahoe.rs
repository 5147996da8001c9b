//! Tahoe-LAFS on this machine: an introducer, ten storage nodes, a client that stores 8-of-10; what its puts cost.

use crate::{
    Cost,
    measure::{cpu_of, cpu_of_children},
};
use std::{
    fs::{self, File},
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

const STORAGE_NODES: usize = 10;
const PATIENCE: Duration = Duration::from_secs(90);

/// A running grid. Dropping it kills its processes.
pub struct Grid {
    program: PathBuf,
    client: PathBuf,
    processes: Vec<Child>,
}

impl Grid {
    /// Starts a grid in `dir` with the `tahoe` at `program`, and waits until all storage nodes serve the client.
    pub fn start(program: &Path, dir: &Path) -> Self {
        fs::create_dir(dir).unwrap();
        let (program, client) = (program.to_owned(), dir.join("client"));
        let mut grid = Self { program, client: client.clone(), processes: Vec::new() };
        let ports = free_ports(STORAGE_NODES + 2);
        let introducer = dir.join("introducer");
        grid.create("create-introducer", &introducer, &listen(ports[0]));
        grid.run(&introducer);
        let furl = until(|| fs::read_to_string(introducer.join("private/introducer.furl")).ok());
        let knows = format!("--introducer={}", furl.trim());
        for (number, port) in ports[2..].iter().enumerate() {
            let home = dir.join(format!("storage-{number}"));
            let mut arguments = listen(*port);
            arguments.extend([knows.clone(), "--webport=none".to_owned()]);
            grid.create("create-node", &home, &arguments);
            grid.run(&home);
        }
        let mut arguments = vec![knows, format!("--webport=tcp:{}:interface=127.0.0.1", ports[1])];
        arguments.extend(["--shares-needed=8", "--shares-happy=8", "--shares-total=10"].map(str::to_owned));
        grid.create("create-client", &client, &arguments);
        grid.run(&client);
        until(|| (connected(ports[1])? == STORAGE_NODES).then_some(()));
        grid
    }

    /// Stores `file`; CPU of all processes.
    pub fn put(&self, file: &Path) -> Cost {
        let (cpu, started) = (self.cpu() + cpu_of_children(), Instant::now());
        let output = self.command(&[]).arg("-d").arg(&self.client).arg("put").arg(file).output().unwrap();
        assert!(output.status.success(), "tahoe put: {}", String::from_utf8_lossy(&output.stderr));
        let seconds = started.elapsed().as_secs_f64();
        Cost { seconds, cpu: self.cpu() + cpu_of_children() - cpu }
    }

    fn cpu(&self) -> f64 {
        self.processes.iter().map(|process| cpu_of(process.id())).sum()
    }

    fn command(&self, arguments: &[String]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(arguments).stdin(Stdio::null());
        command
    }

    fn create(&self, what: &str, home: &Path, arguments: &[String]) {
        let output = self.command(&[what.to_owned()]).args(arguments).arg(home).output().unwrap();
        assert!(output.status.success(), "tahoe {what}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn run(&mut self, home: &Path) {
        let log = File::create(home.join("bench.log")).unwrap();
        let mut command = self.command(&["run".to_owned(), "--allow-stdin-close".to_owned()]);
        command.arg(home).stdout(log.try_clone().unwrap()).stderr(log);
        self.processes.push(command.spawn().unwrap());
    }
}

impl Drop for Grid {
    fn drop(&mut self) {
        for process in &mut self.processes {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

fn listen(port: u16) -> Vec<String> {
    vec![
        "--listen=tcp".to_owned(),
        format!("--port=tcp:{port}:interface=127.0.0.1"),
        format!("--location=tcp:127.0.0.1:{port}"),
    ]
}

/// Ports that were free a moment ago, all different.
fn free_ports(count: usize) -> Vec<u16> {
    let listeners: Vec<_> = (0..count).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    listeners.iter().map(|listener| listener.local_addr().unwrap().port()).collect()
}

/// How many storage nodes the client is connected to, as its web page tells.
fn connected(port: u16) -> Option<usize> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    stream.write_all(b"GET /?t=json HTTP/1.0\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let page: serde_json::Value = serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()?;
    let servers = page["servers"].as_array()?;
    Some(servers.iter().filter(|server| server["connection_status"] == "connected").count())
}

fn until<T>(mut ready: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = ready() {
            return value;
        }
        assert!(Instant::now() < deadline, "the Tahoe grid did not come up");
        std::thread::sleep(Duration::from_millis(100));
    }
}
