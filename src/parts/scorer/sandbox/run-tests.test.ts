import { existsSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { hasNamespaces, runAllTests, runTests, type SandboxJob } from './run-tests.ts';

const limits = { seconds: 10, megabytes: 48 };
const run = async (program: string, ...tests: string[]) => {
  const results = await runTests({ program, tests }, limits);
  return results.map((result) =>
    'message' in result ? `${result.outcome}: ${result.message}` : result.outcome,
  );
};

describe('verdicts', () => {
  it('passes, fails with the reason, and tells a broken test from a failed one', async () => {
    const program = 'function add(a, b) { return a + b }; let calls = 0; console.log(add)';
    const results = await run(
      program,
      'assert.equal(add(1, 2), 3); calls++; assert.strictEqual(calls, 1)',
      // A fresh context for each test: the counter starts again.
      'calls++; assert.strictEqual(calls, 1)',
      'assert.deepEqual([add(1, 1)], [3])',
      'await Promise.resolve(); assert.ok(add(1, 1) === 3, "sum")',
      'assert.throws(() => { throw new TypeError("no") }, /no/); assert.throws(() => add(1))',
      'assert.equal(add(1, ',
      'missing()',
    );
    expect(results.slice(0, 2)).toEqual(['passed', 'passed']);
    expect(results[2]).toMatch(/^failed: .*expected \[2\] to equal \[3\]/);
    expect(results[3]).toMatch(/^failed: .*sum/);
    expect(results[4]).toMatch(/^failed: .*expected an error/);
    expect(results[5]).toMatch(/^broken: SyntaxError/);
    expect(results[6]).toMatch(/^failed: ReferenceError: missing is not defined/);
    expect(await run('let x = ;', 'assert.ok(true)')).toEqual([expect.stringMatching(/failed: SyntaxError/)]);
  });

  it('compares values as deep as they go', async () => {
    const equal = [
      '[1, [2, { a: NaN }]], [1, [2, { a: NaN }]]',
      '{ a: 1, b: undefined }, { b: undefined, a: 1 }',
      'new Map([[1, { a: 2 }]]), new Map([[1, { a: 2 }]])',
      'new Set([[1], 2]), new Set([2, [1]])',
      'new Date(5), new Date(5)',
      '/a/g, /a/g',
      'cycle(), cycle()',
    ];
    const unequal = [
      '[1], [2]',
      '[1], { 0: 1 }',
      '{ a: 1 }, { a: 1, b: undefined }',
      'new Map([[1, 2]]), new Map([[1, 3]])',
      'new Set([[1]]), new Set([[2]])',
      'new Date(5), new Date(6)',
      '/a/g, /a/',
      '[1, , 3], [1, 2, 3]',
      '[], [undefined]',
    ];
    const program = 'const cycle = () => { const x = { n: 1 }; x.me = x; return x }';
    const tests = [
      ...equal.map((pair) => `assert.deepStrictEqual(${pair}); assert.deepEqual(${pair})`),
      ...unequal.map((pair) => `assert.notDeepStrictEqual(${pair}); assert.notDeepEqual(${pair})`),
      'assert.deepEqual([1], ["1"]); assert.notDeepStrictEqual([1], ["1"])',
    ];
    expect(await run(program, ...tests)).toEqual(tests.map(() => 'passed'));
  });

  it('lets honest programs use classes, overridden methods, generators and async code', async () => {
    const program = `
      class Problem extends Error { constructor(m) { super(m); this.name = 'Problem'; } toString() { return 'P' } }
      function Point(x) { this.x = x } Point.prototype.toString = function () { return 'p' + this.x };
      const own = { toString: () => 'own', constructor: 3, valueOf() { return 4 } };
      function* upTo(n) { for (let i = 0; i < n; i++) yield i }
      const later = async (x) => { await null; return [...upTo(x)].map((y) => y * 2) };
      var sorted = [3, 1, 2].sort((a, b) => a - b), groups = new Map(); groups.set('a', new Uint8Array(3));`;
    const test = `
      assert.equal(new Problem('m').name, 'Problem'); assert.equal(String(new Point(2)), 'p2'); assert.equal(own + 1, 5);
      assert.deepEqual(await later(3), [0, 2, 4]); assert.deepEqual(sorted, [1, 2, 3]);
      assert.throws(() => { throw new Problem('x') }, Problem)`;
    expect(await run(program, test)).toEqual(['passed']);
  });
});

describe('code under test cannot make a wrong answer pass', () => {
  const wrong = 'assert.deepEqual(f(), [1, 2]); assert.strictEqual(JSON.stringify(f()), "[1,2]")';
  it.each([
    ['exits early', 'return; function f() {}'],
    ['declares assert', 'const assert = { deepEqual() {}, strictEqual() {} }; function f() {}'],
    ['a global assert', 'globalThis.assert = { deepEqual() {}, strictEqual() {} }; function f() {}'],
    ['JSON', 'JSON.stringify = () => "[1,2]"; function f() { return [1, 2].reverse() }'],
    ['shadowed JSON', 'const JSON = { stringify: () => "[1,2]" }; function f() { return [1, 2] }'],
    ['Reflect', 'try { Reflect.apply = () => undefined } catch {} function f() { return [3] }'],
    ['Object.is', 'Object.is = () => true; function f() { return [1, 3] }'],
    [
      'Array.isArray',
      'Object.defineProperty(Array, "isArray", { value: () => false }); function f() { return 3 }',
    ],
    ['then', 'Promise.prototype.then = (ok) => ok(); function f() { return [1] }'],
    [
      'species',
      'Object.defineProperty(Promise.prototype, "constructor", { get() { return function (e) { e(() => {}, () => {}) } } }); function f() {}',
    ],
    [
      'setters on prototypes',
      'Object.defineProperty(Object.prototype, "passed", { get: () => true }); function f() {}',
    ],
    [
      'numbered setters',
      'Object.defineProperty(Array.prototype, "0", { get: () => 1, set() {} }); function f() { return [] }',
    ],
    ['iterators', 'Array.prototype[Symbol.iterator] = function* () {}; function f() { return [5] }'],
    [
      'the source of the test',
      'function f() { return JSON.parse(/\\[.*?\\]/.exec(f.caller.toString())[0]) }',
    ],
    [
      'the stack',
      'Error.prepareStackTrace = (e, s) => s; function f() { return JSON.parse(/\\[.*?\\]/.exec(new Error().stack[1].getFunction().toString())[0]) }',
    ],
    [
      'a proxy',
      'function f() { return new Proxy([], { ownKeys: () => ["length"], getOwnPropertyDescriptor: () => undefined, get: () => 0 }) }',
    ],
  ])('%s', async (_, program) => {
    const [result] = await run(program, wrong);
    expect(result).toMatch(/^failed/);
  });
});

describe('code under test cannot get out', () => {
  const marker = join(tmpdir(), `heed-escape-${process.pid}`);
  // Each looks for a way to Node's objects; the test passes only where none is found.
  it.each([
    [
      'no globals of Node',
      'const found = ["process", "require", "module", "fetch", "Buffer", "setTimeout", "WebSocket", "global"].filter((n) => n in globalThis).join()',
    ],
    [
      'constructor chain',
      'let found = ""; try { found = this.constructor.constructor("return typeof process")() } catch (e) { if (!(e instanceof EvalError)) found = String(e) }',
    ],
    [
      'eval',
      'let found = ""; try { found = eval("1") } catch (e) { if (!(e instanceof EvalError)) found = "x" }',
    ],
    [
      'async constructor',
      'let found = ""; try { found = (async () => {}).constructor("return 1")() } catch (e) { if (!(e instanceof EvalError)) found = "x" }',
    ],
    [
      'wasm',
      'let found = ""; try { new WebAssembly.Module(new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0])); found = "x" } catch {}',
    ],
    [
      'objects of the host in errors',
      'let found = ""; try { null.x } catch (e) { found = e.constructor === TypeError && Object.getPrototypeOf(TypeError) === Error ? "" : "x" }',
    ],
    [
      'stack frames',
      'let found = ""; Error.prepareStackTrace = (e, frames) => frames; try { for (const f of new Error().stack) { const t = f.getThis(); if (t !== undefined && t !== globalThis) found = "x" } } catch {}',
    ],
    [
      'stack overflow',
      'let found = ""; const deep = () => deep(); try { deep() } catch (e) { if (!(e instanceof RangeError)) found = "x" }',
    ],
    [
      'globalThis chain',
      'let found = ""; for (let o = globalThis; o; o = Object.getPrototypeOf(o)) for (const k of Reflect.ownKeys(o)) if (/process|require/.test(String(k))) found = String(k)',
    ],
  ])('%s', async (_, program) => {
    expect(await run(program, 'assert.equal(found, "")')).toEqual(['passed']);
  });

  it('import is refused', async () => {
    const program = 'let found = ""; const done = import("node:fs").then(() => { found = "x" }, () => {})';
    expect(await run(program, 'await done; assert.equal(found, "")')).toEqual(['passed']);
    expect(await run('import fs from "node:fs"', '')).toEqual([expect.stringMatching(/failed: SyntaxError/)]);
  });

  it('even with the globals of the process in hand, no file, process or network is in reach', async () => {
    // The same process, but the program runs outside of any context: what is left are permissions and the kernel.
    const { guest } = await import('./guest.ts');
    const { spawnGuest } = await import('./run-tests.ts');
    const attack = `
      const fs = require('node:fs'); const out = [];
      const attempt = (name, action) => { try { action(); out.push(name) } catch (e) { out.push(e.code ?? e.name) } };
      attempt('read', () => fs.readFileSync('/etc/hosts'));
      attempt('write', () => fs.writeFileSync(${JSON.stringify(marker)}, 'x'));
      attempt('spawn', () => { const r = require('node:child_process').spawnSync('true'); if (r.error) throw r.error });
      attempt('worker', () => new (require('node:worker_threads').Worker)('1', { eval: true }));
      attempt('eval', () => eval('1'));
      attempt('env', () => { if (Object.keys(process.env).filter((k) => !/^(PATH|PWD|OLDPWD|SHLVL|_)$/.test(k)).length === 0) throw new Error() });
      const socket = require('node:net').connect(9, '192.0.2.1');
      const done = (how) => { out.push(how); fs.writeSync(1, out.join()); process.reallyExit(0) };
      socket.on('connect', () => done('connected')).on('error', (e) => done(e.code));
      setTimeout(() => done('waiting'), 3000);`;
    expect(guest).not.toBe(attack);
    const child = spawnGuest(limits, attack);
    let text = '';
    child.stdout.on('data', (chunk) => {
      text += chunk;
    });
    await new Promise((resolve) => child.on('close', resolve));
    const denied = 'ERR_ACCESS_DENIED';
    const [read, write, spawned, worker, evaluated, env, network] = text.split(',');
    expect([read, write, spawned, worker]).toEqual([denied, denied, denied, denied]);
    expect([evaluated, env]).toEqual(['EvalError', 'Error']);
    if (hasNamespaces()) expect(network).toBe('ENETUNREACH');
    expect(existsSync(marker)).toBe(false);
    rmSync(marker, { force: true });
  });

  it('loops, waits and memory bombs end, and the tests after them do not run', async () => {
    const short = { seconds: 1, megabytes: 32 };
    const job = (program: string): SandboxJob => ({ program, tests: ['await f()', 'assert.ok(true)'] });
    const started = performance.now();
    const results = await runAllTests(
      [
        'function f() { for (;;); }',
        'const f = () => new Promise(() => {}); f.then = 1',
        'function f() { const again = () => Promise.resolve().then(again); return again() }',
        'function f() { Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0) }',
        'function f() { let s = "x"; const all = []; for (;;) all.push((s += s.slice(0, 1000) + all.length)) }',
        'function f() { const all = []; for (;;) all.push(new Array(1e5).fill(1.5)) }',
        'function f() { const all = []; for (;;) all.push(new Uint8Array(5e6).fill(1)) }',
      ].map(job),
      short,
    );
    const outcomes = results.map(([first]) => first!.outcome);
    expect(outcomes[0]).toBe('time');
    // A promise that never settles leaves nothing to do, and the process ends.
    expect(['crashed', 'time']).toContain(
      (await runTests({ program: 'const f = () => new Promise(() => {})', tests: ['await f()'] }, short))[0]!
        .outcome,
    );
    expect(outcomes[3]).toBe('time');
    for (const outcome of [outcomes[2], ...outcomes.slice(4)])
      expect(['crashed', 'failed', 'time']).toContain(outcome);
    expect(results[0]).toEqual([{ outcome: 'time' }, { outcome: 'time' }]);
    expect(performance.now() - started).toBeLessThan(60_000);
  }, 90_000);
});
