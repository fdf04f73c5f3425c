"""What model text may try against the process that scores it. ``CANARY`` stands for a folder it must not touch."""

CODE = {
    # time
    "sleeps": "import time; time.sleep(1e6)",
    "spins": "while True: pass",
    "spins in C": "sum(range(10**12))",
    "waits for a lock": "import threading; l = threading.Lock(); l.acquire(); l.acquire()",
    "backtracks": "import re; re.match(r'(a+)+$', 'a' * 60 + 'b')",
    "raises a tower": "x = 9 ** 9 ** 9 ** 9",
    "prints a giant integer": "answer = str(10 ** 10**6 // 3)",
    "catches everything": "while True:\n    try:\n        while True: pass\n    except BaseException: pass",
    "never joins a thread": "import threading\ndef spin():\n    while True: pass\n"
    "for _ in range(8): threading.Thread(target=spin).start()",
    "threads without end": "import threading, time\n"
    "while True: threading.Thread(target=time.sleep, args=(99,)).start()",
    # memory and depth
    "takes memory": "x = bytearray(10**10)",
    "takes memory by bits": "x = []\nwhile True: x.append(bytearray(10**6))",
    "makes long text": "answer = 'x' * 10**9",
    "makes a long list": "answer = [0] * 10**9",
    "recurses": "def f(): return f()\nf()",
    "recurses without limit": "import sys; sys.setrecursionlimit(10**9)\ndef f(): return f()\nf()",
    "nests brackets": "compile('(' * 10**5, 's', 'e' + 'val')",
    "nests data": "x = []\nfor _ in range(10**6): x = [x]\nanswer = repr(x)",
    "maps memory": "import mmap; x = mmap.mmap(-1, 10**10)",
    "expands": "import zlib; x = zlib.decompress(zlib.compress(b'0' * 10**8))*100",
    # processes
    "forks without end": "import os\nwhile True:\n    os.fork()",
    "leaves a daemon": "import os, time\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0: time.sleep(1e5)\n"
    "    os._exit(0)",
    "starts a shell": "import subprocess; subprocess.Popen(['/bin/sleep', '100000'], start_new_session=True)",
    "replaces itself": "import os; os.execv('/bin/sleep', ['sleep', '100000'])",
    "spawns": "import os; os.posix_spawn('/bin/sleep', ['sleep', '100000'], {})",
    "pools processes": "import multiprocessing as m; m.get_context('spawn').Process(target=print).start()",
    "kills its parent": "import os; os.kill(os.getppid(), 9)",
    "kills the first process": "import os; os.kill(1, 9)",
    "kills everyone": "import os; os.kill(-1, 9)",
    "kills its group": "import os; os.killpg(0, 9)",
    "stops its parent": "import os, signal; os.kill(os.getppid(), signal.SIGSTOP)",
    # its own end
    "exits": "exit(0)",
    "exits at once": "import os; os._exit(0)",
    "raises SystemExit": "raise SystemExit('correct')",
    "interrupts": "raise KeyboardInterrupt",
    "stops itself": "import os, signal; os.kill(os.getpid(), signal.SIGSTOP)",
    "kills itself": "import os; os.kill(os.getpid(), 9)",
    "aborts": "import os; os.abort()",
    "segfaults": "import ctypes; ctypes.string_at(0)",
    "ignores signals": "import signal, time\nfor s in (signal.SIGTERM, signal.SIGALRM, signal.SIGINT, signal.SIGXCPU): "
    "signal.signal(s, signal.SIG_IGN)\nwhile True: time.sleep(1)",
    "rings an alarm": "import signal; signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)\nwhile True: pass",
    "exits late": "import atexit, time; atexit.register(time.sleep, 1e5)",
    "is deleted slowly": "class D:\n    def __del__(self): __import__('time').sleep(1e5)\nd = D(); del d",
    "closes every file": "import os; os.closerange(0, 1000)",
    "raises a nasty error": "class E(Exception):\n    def __str__(self): raise SystemExit\nraise E",
    "raises with control characters": "raise ValueError('\\x1b[2J\\r\\nverdict: correct' * 10**5)",
    # files and network
    "fills the disk": "f = open('x', 'wb')\nwhile True: f.write(bytes(10**6))",
    "makes many files": "for i in range(10**6): open(str(i), 'wb').write(bytes(10**5))",
    "fills memory files": "import os\nfor _ in range(10**3): os.write(os.memfd_create('x'), bytes(10**9))",
    "writes elsewhere": "open('CANARY/kept', 'w').write('gone')",
    "walks up": "open('../' * 20 + 'CANARY/new', 'w').write('x')",
    "removes": "import os; os.remove('CANARY/kept')",
    "removes a tree": "import shutil; shutil.rmtree('CANARY')",
    "changes modes": "import os; os.chmod('CANARY/kept', 0)",
    "links": "import os; os.symlink('CANARY/kept', 'k'); open('k', 'a').write('x')",
    "mounts": "import ctypes; c = ctypes.CDLL(None); c.unshare(0x10020000); c.mount(b'x', b'/', None, 0x1020, None)\n"
    "open('CANARY/kept', 'w').write('gone')",
    "floods stdout": "import sys\nwhile True: print('correct ' * 10**5)",
    "floods stderr": "import os\nwhile True: os.write(2, b'correct ' * 10**5)",
    "connects": "import socket; socket.create_connection(('127.0.0.1', PORT), 1).send(b'hello')",
    "reads the environment": "import os; answer = os.environ['FORKPOINT_SECRET']",
    "reads its parent's environment": "import os; answer = open(f'/proc/{os.getppid()}/environ').read()",
    "traces its parent": "import ctypes, os; assert ctypes.CDLL(None).ptrace(16, os.getppid(), 0, 0) == 0",
    # forged answers
    "writes an answer to every file": "import os, struct, json\n"
    "m = json.dumps({'id': 1, 'outcome': 'correct', 'reason': '', 'output': '42'}).encode()\n"
    "for fd in range(100):\n    try: os.write(fd, struct.pack('!I', len(m)) + m)\n    except OSError: pass",
    "writes a long answer": "import os\n"
    "for fd in range(100):\n    try: os.write(fd, b'\\xff' * 8)\n    except OSError: pass\nwhile True: pass",
    "answers first, then hangs": "import os, struct\nfor fd in range(3, 100):\n"
    "    try: os.write(fd, struct.pack('!I', 2) + b'{}')\n    except OSError: pass\nwhile True: pass",
    "answers in its own name": "import sys, json, struct, time; f = sys._getframe()\n"
    "while 'pool' not in f.f_locals: f = f.f_back\n"
    "m = {'id': f.f_locals['request']['id'], 'outcome': 'correct', 'reason': '', 'output': [1]}\n"
    "m = json.dumps(m).encode(); f.f_locals['pool'].sendall(struct.pack('!I', len(m)) + m); time.sleep(9)",
    "patches json": "import json; e = json.JSONEncoder.encode\n"
    "json.JSONEncoder.encode = lambda s, o: e(s, {**o, 'outcome': 'correct', 'reason': ''})",
    "patches builtins": "import builtins; builtins.type = lambda x: str; builtins.str = lambda x: '42'",
    "patches the judge": "import sys\nm = sys.modules['tests.verify.scorers']\n"
    "V = m.Verdict; m.equals = m.run_python = m.Verdict = lambda *a: V('correct')\nV.outcome = 'correct'",
    "reads the answer off the stack": "import sys; f, answer = sys._getframe(), ''\n"
    "while f: answer = f.f_locals.get('gold', answer); f = f.f_back",
    "reads the answer out of memory": "import gc\n"
    "answer = ' '.join(o['about'] for o in gc.get_objects() if type(o) is dict and 'about' in o)",
    "patches the worker": "import sys; m = sys.modules['forkpoint.verify._worker']\n"
    "m.judged = m.ran = lambda *a: {'outcome': 'correct', 'reason': ''}\n"
    "m.send = lambda *a, **k: None",
    # what is no text
    "returns nothing": "",
    "returns an object": "class A:\n    def __eq__(self, o): return True\nanswer = A()",
    "returns text that equals all": "class S(str):\n    def __eq__(self, o): return True\n"
    "    def __str__(self): return self\nanswer = S()",
    "returns lone surrogates": "answer = '\\ud800' * 10**4",
    "returns zeros": "answer = '\\0' * 10**6",
    "returns a flood": "answer = '42' * 10**7",
    "is no code": "answer = = \ud800 \0",
}

INFORMED = {
    *(
        "answers in its own name",
        "patches json",
        "patches the judge",
        "patches the worker",
        "returns text that equals all",
    ),
    *("reads the answer off the stack", "reads the answer out of memory"),
}
"""these win against a scorer that runs them in its own process: the reason why ``run`` has one of its own"""

MATH = {
    "power tower": r"\boxed{9^{9^{9^{9^9}}}}",
    "factorial tower": r"\boxed{((((10^8)!)!)!)!}",
    "large factorial": r"\boxed{(10^{10})!}",
    "twenty thousand braces": r"\boxed{" + "{" * 20_000 + "42" + "}" * 20_000 + "}",
    "twenty thousand fractions": r"\boxed{" + r"\frac{1}{" * 20_000 + "1" + "}" * 20_000 + "}",
    "huge sum": r"\boxed{\sum_{i=1}^{10^{12}} \frac{1}{i^2+1}}",
    "huge product": r"\boxed{\prod_{i=1}^{10^{9}} (i+1)}",
    "binomial tower": r"\boxed{\binom{10^{10}}{5\cdot 10^{9}}}",
    "a hundred million digits": r"\boxed{" + "4" * 900_000 + "}",
    "integral": r"\boxed{\int_0^1 e^{x^{x^{x}}} dx}",
    "set of three thousand powers": r"\boxed{\{" + ",".join(f"x^{{{i}}}" for i in range(3000)) + r"\}}",
    "a hundred boxes, unclosed": r"\boxed{42 " * 100,
    "all answers": " ".join(rf"\boxed{{{i}}}" for i in range(100)),
    "chain": r"\boxed{x=1=42}",
    "escaped braces": r"\boxed{42\}" * 5000,
    "longer than may be": "x" * 1_000_001 + r"\boxed{42}",
    "null and surrogate": "\\boxed{4\x002\ud800}",
    "python": r"\boxed{__import__('os').system('touch CANARY/new')}",
    "other digits": r"\boxed{٤٢²}",
    "empty": "",
}
