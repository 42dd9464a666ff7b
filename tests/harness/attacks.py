"""What a hostile server tries: programs that print ``escaped: …`` for what they got, and ``held`` when it was nothing.

Each goes on for the number of seconds that is its first argument, and ends by itself where it can.
"""

from __future__ import annotations

_HEAD = """
import ctypes, errno, os, signal, socket, sys, time
end = time.monotonic() + float(sys.argv[1])
libc = ctypes.CDLL(None, use_errno=True)
X86 = os.uname().machine == "x86_64"
def going(): return time.monotonic() < end
def escaped(what): print("escaped:", what, flush=True)
def call(what, number, *arguments):
    if libc.syscall(number, *arguments) != -1: escaped(what)
def attempt(what, function, *arguments):
    try: function(*arguments)
    except (OSError, ValueError): return
    escaped(what)
def paused():
    time.sleep(0.05)
"""

_TAIL = """
print("held", flush=True)
"""

_BODIES = {
    "read the environment of the machine's processes": """
while going():
    found = [name for name in os.listdir("/proc") if name.isdigit()]
    for pid in found:
        try: environment = open(f"/proc/{pid}/environ", "rb").read()
        except OSError: continue
        if b"MARKER_OF_THE_MACHINE" in environment: escaped(f"the environment of {pid}")
    if len(found) > 40: escaped(f"{len(found)} processes are seen")
    paused()
""",
    "mount": """
os.makedirs("/tmp/there", exist_ok=True)
while going():
    for what in (("tmpfs", "/tmp/there", "tmpfs", 0), ("/", "/tmp/there", None, 4096), ("proc", "/proc", "proc", 0)):
        source, target, kind, flags = what
        if not libc.mount(source.encode(), target.encode(), kind and kind.encode(), flags, None): escaped(what)
    if not libc.umount2(b"/proc", 2): escaped("unmounted /proc")
    call("pivot_root", 155 if X86 else 41, b"/tmp", b"/tmp/there")
    attempt("chroot", os.chroot, "/tmp")
    call("fsopen", 430, b"tmpfs", 0)
    call("open_tree", 428, -100, b"/", 1)
    paused()
""",
    "trace": """
while going():
    for pid in (1, os.getppid()):
        if not libc.ptrace(16, pid, None, None): escaped(f"attached to {pid}")
        if not libc.ptrace(0x4206, pid, None, None): escaped(f"seized {pid}")
        call("process_vm_readv", 310 if X86 else 270, pid, None, 0, None, 0, 0)
        call("pidfd_getfd", 438, 0, 0, 0)
    paused()
""",
    "make namespaces": """
kinds = (0x10000000, 0x20000, 0x40000000, 0x20000000, 0x04000000, 0x08000000, 0x02000000)
while going():
    for kind in kinds:
        for flags in (kind, kind | 0x10000000):
            if not libc.unshare(flags): escaped(f"unshared {flags:#x}")
            child = libc.syscall(56 if X86 else 220, flags | signal.SIGCHLD, 0, 0, 0, 0)
            if child == 0: os._exit(0)
            if child > 0: os.waitpid(child, 0); escaped(f"cloned {flags:#x}")
    for path in ("user", "mnt", "net"):
        try:
            with open(f"/proc/self/ns/{path}") as there:
                if not libc.setns(there.fileno(), 0): escaped(f"entered {path}")
        except OSError: pass
    paused()
""",
    "open strange sockets": """
while going():
    for family, name in ((40, "AF_VSOCK"), (17, "AF_PACKET"), (38, "AF_ALG"), (31, "AF_BLUETOOTH"), (29, "AF_CAN"),
                         (44, "AF_XDP"), (15, "AF_KEY"), (21, "AF_RDS"), (30, "AF_TIPC")):
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_RAW, socket.SOCK_SEQPACKET):
            attempt(name, socket.socket, family, kind)
    attempt("a raw socket", socket.socket, socket.AF_INET, socket.SOCK_RAW, 1)
    paused()
""",
    "use the kernel's odd corners": """
while going():
    call("io_uring_setup", 425, 8, ctypes.create_string_buffer(120))
    call("bpf", 321 if X86 else 280, 0, ctypes.create_string_buffer(120), 120)
    call("perf_event_open", 298 if X86 else 241, ctypes.create_string_buffer(120), 0, -1, -1, 0)
    call("userfaultfd", 323 if X86 else 282, 0)
    call("keyctl", 250 if X86 else 219, 0, -3, 1)
    call("add_key", 248 if X86 else 217, b"user", b"a", b"b", 1, -3)
    call("kexec_load", 246 if X86 else 104, 0, 0, 0, 0)
    call("init_module", 175 if X86 else 105, b"", 0, b"")
    call("open_by_handle_at", 304 if X86 else 265, -100, ctypes.create_string_buffer(120), 0)
    call("reboot", 169 if X86 else 142, 0xfee1dead, 672274793, 0, 0)
    call("sethostname", 170 if X86 else 161, b"a", 1)
    paused()
""",
    "write outside": """
writable = ("/tmp", "/dev/shm", "/home", "/run", "/var/tmp", "/proc", "/dev/pts")
while going():
    for folder in ("/", "/etc", "/usr", "/usr/bin", "/dev", "/sys", "/lib", "/var", sys.prefix, sys.base_prefix):
        if folder.startswith(writable): continue
        attempt(f"a file in {folder}", open, os.path.join(folder, "written-by-a-server"), "w")
    for path in ("/etc/passwd", "/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger"):
        attempt(path, open, path, "w")
    attempt("a device", os.mknod, "/tmp/disk", 0o60600, os.makedev(8, 0))
    for path in ("/dev/mem", "/dev/kmsg", "/dev/sda", "/dev/vda", "/dev/kvm", "/dev/vsock", "/dev/fuse"):
        attempt(path, open, path, "rb")
    paused()
""",
    "signal the machine": """
while going():
    for number in range(3, 40000, 7):
        if os.path.exists(f"/proc/{number}"): continue
        try: os.kill(number, 0)
        except ProcessLookupError: continue
        except PermissionError: pass
        escaped(f"process {number} is there")
    paused()
""",
    "fork without end": """
most, children = 0, []
while going():
    try:
        child = os.fork()
        if child == 0:
            time.sleep(max(0, end - time.monotonic()))
            os._exit(0)
        children.append(child)
    except OSError:
        paused()
    most = max(most, len(children))
for child in children:
    os.kill(child, signal.SIGKILL); os.waitpid(child, 0)
if most > 300: escaped(f"{most} processes")
""",
    "open files without end": """
held = []
while going() and len(held) < 100000:
    try: held.append(os.open("/dev/null", os.O_RDONLY))
    except OSError as error:
        if error.errno != errno.EMFILE: raise
        paused()
if len(held) > 2000: escaped(f"{len(held)} files")
""",
    "fill the disk": """
written = 0
for folder in ("/tmp", "/dev/shm", "/run", "/var/tmp", os.environ.get("HOME", "/tmp"), "/dev", "/etc"):
    path = os.path.join(folder, "filling")
    try:
        with open(path, "wb", buffering=0) as there:
            while written < 3 << 30: written += there.write(bytes(1 << 20))
    except OSError: pass
    finally:
        try: os.unlink(path)
        except OSError: pass
if written > 1 << 30: escaped(f"{written >> 20} MiB are written")
""",
    "take all memory": """
held = []
try:
    while len(held) < 4096:
        held.append(bytearray(1 << 20)); held[-1][::4096] = b"x" * 256
except MemoryError: pass
if len(held) > 2048: escaped(f"{len(held)} MiB")
""",
}

ATTACKS = {name: _HEAD + body + _TAIL for name, body in _BODIES.items()}
EXHAUSTING = ("take all memory",)
"""These may end the server itself."""
