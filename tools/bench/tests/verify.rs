//! What `weir-bench verify` says of gateways that are right, wrong and broken. The gateway is a stand-in that reads a
//! capture, takes VXLAN off by cutting fifty bytes, and errs as it is told; so none of DPDK is needed.
#![forbid(unsafe_code)]

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const GATEWAY: &str = r#"#!/usr/bin/python3
import json, os, re, signal, socket, struct, sys
error = ERROR
text = open(sys.argv[2]).read()
source = re.search(r'net_pcap0,rx_pcap=([^",]*)', text)[1]
sink = re.search(r'net_pcap1,tx_pcap=([^",]*)', text)
capture = open(source, 'rb').read()[24:]
frames = []
while capture:
    length = struct.unpack('<I', capture[8:12])[0]
    frames.append(capture[16:16 + length])
    capture = capture[16 + length:]
out = [f[50:62] + bytes([0x81, 0, 0, 100]) + f[62:] for f in frames]
if error == 'loses' and out: del out[-1]
if error == 'damages' and out: out[2] = out[2][:20] + b'\xff' + out[2][21:]
if error == 'swaps' and out: out[0], out[-1] = out[-1], out[0]
if sink:
    with open(sink[1], 'wb') as f:
        f.write(struct.pack('<IIIIII', 0xa1b23c4d, 0x40002, 0, 0, 65535, 1))
        for o in out: f.write(struct.pack('<IIII', 0, 0, len(o), len(o)) + o)
ended = 7 if error == 'leaks' else 0
signal.signal(signal.SIGTERM, lambda *_: (print('an mbuf is missing', flush=True), sys.exit(ended)))
server = socket.socket(socket.AF_UNIX)
address = re.search(r'socket = "([^"]*)"', text)[1]
if os.path.exists(address): os.unlink(address)
server.bind(address)
server.listen()
def port(mac, **counters):
    zero = 'mtu link_mbps rx_queues tx_queues rx_packets rx_bytes tx_packets tx_bytes rx_missed tx_errors'.split()
    return dict.fromkeys(zero, 0) | dict(name='p', device='', driver='', mac=mac, link_up=True, drops={}) | counters
def stats():
    ports = [port('02:70:63:61:70:00', rx_packets=len(frames)), port('02:70:63:61:70:01', tx_packets=len(out))]
    return dict(version='', api_version=1, generation=1, uptime_seconds=0, ports=ports, workers=[], events={}, tables={},
                mbufs=dict(free=1, total=1))
if error == 'falls': sys.exit('no memory for the tables')
while True:
    stream = server.accept()[0].makefile('rw')
    for line in stream:
        request = json.loads(line)
        answer = dict(jsonrpc='2.0', id=request['id'], result=stats() if request['method'] == 'stats' else {})
        if error == 'refuses' and request['method'] == 'apply':
            del answer['result']
            answer['error'] = dict(code=1, message='too many', data=dict(path='ops[0].put', value='bench'))
        stream.write(json.dumps(answer) + '\n')
        stream.flush()
"#;

fn verify(directory: &Path, error: &str) -> Output {
    let gateway: PathBuf = directory.join("weir");
    std::fs::write(&gateway, GATEWAY.replace("ERROR", &format!("{error:?}"))).unwrap();
    std::fs::set_permissions(&gateway, std::fs::Permissions::from_mode(0o755)).unwrap();
    let arguments = "verify --case vxlan-vlan --flows 100 --hugepages none";
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir-bench"));
    command.args(arguments.split_whitespace()).arg("--weir").arg(&gateway).output().unwrap()
}

#[track_caller]
fn outcome(error: &str, code: i32, says: &[&str]) {
    let directory = tempfile::tempdir().unwrap();
    let output = verify(directory.path(), error);
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{text}");
    for words in says {
        assert!(text.contains(words), "{words:?} is not in:\n{text}");
    }
}

#[test]
fn a_right_gateway_passes() {
    outcome("", 0, &["200 frames, every byte as it must be"]);
}

#[test]
fn a_damaged_frame_disqualifies_with_both_frames_side_by_side() {
    outcome(
        "damages",
        3,
        &["disqualified: frame 3 (flow 2) has wrong bytes", "- 0010  ", "+ 0010  ", "            ^^"],
    );
}

#[test]
fn a_lost_frame_disqualifies() {
    outcome("loses", 3, &["disqualified: 1 of 200 frames are missing, the first of flow 99"]);
}

#[test]
fn swapped_frames_of_two_rounds_disqualify() {
    outcome("swaps", 3, &["disqualified: frame 1 is number 1 of flow 99, whose next one is number 0"]);
}

#[test]
fn a_gateway_that_leaks_falls_or_refuses_fails_the_run_with_its_own_words() {
    outcome("leaks", 1, &["ended badly", "an mbuf is missing"]);
    outcome("falls", 1, &["no memory for the tables"]);
    outcome("refuses", 1, &["too many: ops[0].put = \"bench\""]);
}
