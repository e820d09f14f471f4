//! FTP control connections and their data connections, through a gateway whose client knows of no proxy.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
};

use crate::{
    lab::{INSIDE, Lab, TARGETS, skipped},
    setup::{By, set_up},
};

/// What the data connections bring.
const FILE: &str = "the file\n";

/// An FTP server in `far` at `ip`, port 21, that names `named` for its data connections, which it takes
/// at `data`.
fn server(lab: &Lab, ip: &str, named: &'static str, data: &str) {
    let listen = |ip: &str, port| {
        let address = SocketAddr::new(ip.parse().unwrap(), port);
        lab.far.run(|| TcpListener::bind(address).unwrap())
    };
    let (control, data) = (listen(ip, 21), listen(data, 0));
    // What it connects by itself belongs there, too: a thread is where its maker is.
    lab.far.run(move || {
        thread::spawn(move || {
            for tcp in control.incoming() {
                serve(tcp.unwrap(), &data, named);
            }
        });
    });
}

fn serve(tcp: TcpStream, data: &TcpListener, named: &str) {
    let [high, low] = data.local_addr().unwrap().port().to_be_bytes();
    let port = u16::from_be_bytes([high, low]);
    let named = named.replace('.', ",");
    let mut requests = BufReader::new(tcp);
    let say = |requests: &mut BufReader<TcpStream>, line: &str| {
        let _ = requests
            .get_mut()
            .write_all(format!("{line}\r\n").as_bytes());
    };
    say(&mut requests, "220 ready");
    let mut line = String::new();
    let mut waits_at = None;
    while requests.read_line(&mut line).is_ok_and(|len| len > 0) {
        match line.trim_end() {
            port if port.starts_with("PORT ") => {
                waits_at = Some(six_numbers(&port[5..]));
                say(&mut requests, "200 well");
            }
            eprt if eprt.starts_with("EPRT ") => {
                waits_at = Some(extended(&eprt[5..]));
                say(&mut requests, "200 well");
            }
            "PASV" => say(
                &mut requests,
                &format!("227 Passive ({named},{high},{low})."),
            ),
            "EPSV" => say(&mut requests, &format!("229 Passive (|||{port}|)")),
            "RETR file" => {
                say(&mut requests, "150 here");
                let mut connection = match waits_at {
                    Some(address) => TcpStream::connect(address).unwrap(),
                    None => data.accept().unwrap().0,
                };
                connection.write_all(FILE.as_bytes()).unwrap();
                drop(connection);
                say(&mut requests, "226 done");
            }
            "QUIT" => return say(&mut requests, "221 bye"),
            _ => say(&mut requests, "500 what?"),
        }
        line.clear();
    }
}

/// A client in `lan`, by hand.
struct Client<'a> {
    lab: &'a Lab,
    control: BufReader<TcpStream>,
}

impl<'a> Client<'a> {
    fn new(lab: &'a Lab, ip: &str) -> Self {
        let control = lab.lan.connect(SocketAddr::new(ip.parse().unwrap(), 21));
        let mut client = Self {
            lab,
            control: BufReader::new(control.unwrap()),
        };
        assert_eq!(client.reply(), "220 ready");
        client
    }

    fn reply(&mut self) -> String {
        let mut line = String::new();
        self.control.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    fn ask(&mut self, request: &str) -> String {
        let control = self.control.get_mut();
        control
            .write_all(format!("{request}\r\n").as_bytes())
            .unwrap();
        self.reply()
    }

    /// Fetches the file over a connection to `data`.
    fn fetch(&mut self, data: SocketAddr) -> String {
        let mut data = self.lab.lan.connect(data).unwrap();
        assert_eq!(self.ask("RETR file"), "150 here");
        let mut file = String::new();
        data.read_to_string(&mut file).unwrap();
        assert_eq!(self.reply(), "226 done");
        file
    }
}

/// The address in a reply to PASV.
fn passive(reply: &str) -> SocketAddr {
    let (_, numbers) = reply.split_once('(').unwrap();
    let (numbers, _) = numbers.split_once(')').unwrap();
    six_numbers(numbers)
}

fn six_numbers(numbers: &str) -> SocketAddr {
    let n: Vec<u8> = numbers.split(',').map(|n| n.parse().unwrap()).collect();
    let port = u16::from_be_bytes([n[4], n[5]]);
    ([n[0], n[1], n[2], n[3]], port).into()
}

/// `|2|fd77::2|5282|`
fn extended(text: &str) -> SocketAddr {
    let parts: Vec<&str> = text.split('|').collect();
    SocketAddr::new(parts[2].parse().unwrap(), parts[3].parse().unwrap())
}

#[test]
fn passive_data_connections_come_through_also_from_a_server_that_names_its_private_address() {
    if skipped(
        "passive_data_connections_come_through_also_from_a_server_that_names_its_private_address",
    ) {
        return;
    }
    let lab = Lab::new();
    let _client = By::Tproxy.client(&lab);
    set_up(&lab, By::Tproxy, &["--lan", "lan0"]);
    // The exit may not go to the address it names.
    server(&lab, TARGETS[0], "10.1.2.3", TARGETS[0]);
    let mut client = Client::new(&lab, TARGETS[0]);
    let data = passive(&client.ask("PASV"));
    assert_eq!(data.ip().to_string(), TARGETS[0]);
    assert_eq!(client.fetch(data), FILE);
    assert_eq!(client.ask("QUIT"), "221 bye");
    // The next line may come with the end.
    assert_eq!(client.reply(), "");
    server(&lab, TARGETS[1], "0.0.0.0", TARGETS[1]);
    let mut client = Client::new(&lab, TARGETS[1]);
    let reply = client.ask("EPSV");
    let port = reply.trim_end_matches(['|', ')']).rsplit('|').next();
    let port = port.unwrap().parse().unwrap();
    let data = SocketAddr::new(TARGETS[1].parse().unwrap(), port);
    assert_eq!(client.fetch(data), FILE);
}

#[test]
fn a_private_address_that_the_egress_policy_allows_is_where_the_data_comes_from() {
    if skipped("a_private_address_that_the_egress_policy_allows_is_where_the_data_comes_from") {
        return;
    }
    let lab = Lab::new();
    let _client = By::Redirect.client(&lab);
    set_up(&lab, By::Redirect, &["--lan", "lan0"]);
    server(&lab, TARGETS[0], INSIDE, INSIDE);
    let mut client = Client::new(&lab, TARGETS[0]);
    let data = passive(&client.ask("PASV"));
    assert_eq!(data.ip().to_string(), TARGETS[0]);
    assert_eq!(client.fetch(data), FILE);
}

#[test]
fn active_data_connections_come_to_a_client_behind_the_gateway() {
    if skipped("active_data_connections_come_to_a_client_behind_the_gateway") {
        return;
    }
    let lab = Lab::new();
    let _client = By::Redirect.client(&lab);
    set_up(&lab, By::Redirect, &["--lan", "lan0"]);
    for (ip, own) in TARGETS.into_iter().zip(["10.77.0.2", "fd77::2"]) {
        server(&lab, ip, ip, ip);
        let mut client = Client::new(&lab, ip);
        // Once more on the same control connection.
        for _ in 0..2 {
            let own = SocketAddr::new(own.parse().unwrap(), 0);
            let data = lab.lan.run(|| TcpListener::bind(own).unwrap());
            let own = data.local_addr().unwrap();
            let [high, low] = own.port().to_be_bytes();
            let naming = match own {
                SocketAddr::V4(_) => format!("PORT 10,77,0,2,{high},{low}"),
                SocketAddr::V6(own) => format!("EPRT |2|{}|{}|", own.ip(), own.port()),
            };
            assert_eq!(client.ask(&naming), "200 well");
            assert_eq!(client.ask("RETR file"), "150 here");
            let mut file = String::new();
            let (mut connection, _) = data.accept().unwrap();
            connection.read_to_string(&mut file).unwrap();
            assert_eq!(file, FILE);
            assert_eq!(client.reply(), "226 done");
        }
    }
}
