/**
 * What runs inside the sandbox's process: text of two programs, because neither may import anything.
 *
 * `guest` is the process. It reads a job, makes a fresh context per test, and writes one verdict per test. `kit` runs in each
 * context before any code under test: it makes built-ins unchangeable and has the assertions, written with functions that
 * were taken beforehand, so that code under test cannot change what a test compares.
 */

/** An expression of a function: () → { assert, run }, evaluated in a fresh context. */
export const kit = String.raw`(() => {
  'use strict';
  const { ownKeys, getPrototypeOf, getOwnPropertyDescriptor, defineProperty, apply } = Reflect;
  const { is, freeze, create } = Object;
  const isArray = Array.isArray;
  const promiseThen = Promise.prototype.then;
  const tagOf = Object.prototype.toString;
  const hasOwn = Object.prototype.hasOwnProperty;
  const getTime = Date.prototype.getTime;
  const sourceOf = getOwnPropertyDescriptor(RegExp.prototype, 'source').get;
  const flagsOf = getOwnPropertyDescriptor(RegExp.prototype, 'flags').get;
  const [mapSize, setSize] = [Map, Set].map((of) => getOwnPropertyDescriptor(of.prototype, 'size').get);
  const [mapEach, setEach] = [Map.prototype.forEach, Set.prototype.forEach];
  const [mapGet, mapHas, setHas] = [Map.prototype.get, Map.prototype.has, Set.prototype.has];
  const text = String;
  const regexTest = RegExp.prototype.exec;

  // Built-ins: every function, constructor and prototype that can be reached, from globals and from syntax.
  const names = ownKeys(globalThis);
  const queue = [];
  for (const name of names) queue.push(globalThis[name]);
  queue.push((function* () {})().__proto__, (async function* () {})().__proto__, async () => {}, [][Symbol.iterator]());
  queue.push(''[Symbol.iterator](), new Map().entries(), new Set().entries(), 'a'.matchAll(/a/g));
  const seen = new Set([globalThis]);
  while (queue.length > 0) {
    const object = queue.pop();
    if ((typeof object !== 'object' && typeof object !== 'function') || object === null || seen.has(object)) continue;
    seen.add(object);
    queue.push(getPrototypeOf(object));
    for (const key of ownKeys(object)) {
      const descriptor = getOwnPropertyDescriptor(object, key);
      if ('value' in descriptor) queue.push(descriptor.value);
      else queue.push(descriptor.get, descriptor.set);
    }
  }
  for (const object of seen) {
    if (object === globalThis) continue;
    for (const key of ownKeys(object)) {
      const { value, writable, configurable, enumerable } = getOwnPropertyDescriptor(object, key);
      if (!writable || !configurable) continue;
      // A property that is fixed could not be set on objects that inherit it: setting it there makes their own.
      defineProperty(object, key, {
        get: () => value,
        set(other) {
          if (this === object) throw new TypeError('built-ins cannot be changed');
          defineProperty(this, key, { value: other, writable: true, enumerable: true, configurable: true });
        },
        enumerable,
        configurable: false,
      });
    }
    if (typeof object === 'object' || typeof object === 'function') Object.preventExtensions(object);
  }
  // Not to be shadowed by declarations of the code under test either, but for names that nobody tests with.
  for (const name of names) {
    if (name === 'escape' || name === 'unescape') continue;
    const descriptor = getOwnPropertyDescriptor(globalThis, name);
    if (descriptor.configurable) defineProperty(globalThis, name, { value: globalThis[name], writable: false, configurable: false });
  }
  const nothing = freeze(() => undefined);
  defineProperty(globalThis, 'console', {
    value: freeze({ log: nothing, info: nothing, warn: nothing, error: nothing, debug: nothing, table: nothing }),
    writable: false,
    configurable: false,
  });

  const same = (a, b, strict) => is(a, b) || (strict ? a === b : a == b || (a !== a && b !== b));
  const brand = (getter, x) => {
    try {
      return apply(getter, x, []);
    } catch {
      return undefined;
    }
  };
  const own = (object) => {
    const keys = ownKeys(object);
    const found = [];
    for (let i = 0, n = 0; i < keys.length; i++) {
      const descriptor = getOwnPropertyDescriptor(object, keys[i]);
      if (descriptor !== undefined && descriptor.enumerable) defineProperty(found, n++, { value: keys[i] });
    }
    return found;
  };
  /** Values as deep as they go; pairs that are being compared count as equal, for cycles. */
  const equal = (a, b, strict, path) => {
    const simple = (x) => x === null || (typeof x !== 'object' && typeof x !== 'function');
    if (simple(a) || simple(b)) {
      if (strict) return is(a, b) || (a === 0 && b === 0);
      // An object never equals a text or a number: its own valueOf would be asked.
      return simple(a) && simple(b) && same(a, b, false);
    }
    if (a === b) return true;
    if (typeof a === 'function' || typeof b === 'function') return false;
    for (let at = path; at !== null; at = at.up) if (at.a === a && at.b === b) return true;
    const next = { a, b, up: path };
    if (isArray(a) !== isArray(b)) return false;
    if (strict && getPrototypeOf(a) !== getPrototypeOf(b)) return false;
    for (const getter of [getTime, sourceOf, flagsOf, mapSize, setSize]) {
      if (!is(brand(getter, a), brand(getter, b))) return false;
    }
    if (brand(mapSize, b) !== undefined) {
      let right = true;
      apply(mapEach, b, [(value, key) => {
        right = right && apply(mapHas, a, [key]) && equal(apply(mapGet, a, [key]), value, strict, next);
      }]);
      if (!right) return false;
    }
    if (brand(setSize, b) !== undefined) {
      let right = true;
      apply(setEach, b, [(value) => {
        if (!right || apply(setHas, a, [value])) return;
        right = false;
        apply(setEach, a, [(other) => {
          right = right || (!simple(other) && equal(other, value, strict, next));
        }]);
      }]);
      if (!right) return false;
    }
    if (isArray(a) && a.length !== b.length) return false;
    const [keysA, keysB] = [own(a), own(b)];
    if (keysA.length !== keysB.length) return false;
    for (let i = 0; i < keysB.length; i++) {
      if (!apply(hasOwn, a, [keysB[i]]) || !equal(a[keysB[i]], b[keysB[i]], strict, next)) return false;
    }
    return true;
  };
  const short = (value) => {
    try {
      const shown = typeof value === 'string' ? value : (JSON.stringify(value) ?? text(value));
      return shown.length > 200 ? shown.slice(0, 200) + '…' : shown;
    } catch {
      return apply(tagOf, value, []);
    }
  };
  class AssertionError extends Error {}
  const check = (right, message, otherwise) => {
    if (right) return;
    throw new AssertionError(message === undefined ? otherwise() : text(message));
  };
  const versus = (a, b, word) => () => 'expected ' + short(a) + ' ' + word + ' ' + short(b);
  const ok = (value, message) => check(value, message, () => 'expected ' + short(value) + ' to be true');
  const fails = (action, expected, message) => {
    let thrown = false;
    try {
      action();
    } catch (error) {
      thrown = true;
      if (expected instanceof RegExp) check(apply(regexTest, expected, [text(error && error.message)]) !== null, message, () => 'another error: ' + short(text(error)));
      else if (typeof expected === 'function' && expected.prototype !== undefined) check(error instanceof expected, message, () => 'another error: ' + short(text(error)));
    }
    check(thrown, typeof expected === 'string' ? expected : message, () => 'expected an error');
  };
  const define = (name, value) => defineProperty(assert, name, { value });
  const assert = (value, message) => ok(value, message);
  define('ok', ok);
  define('equal', (a, b, m) => check(same(a, b, false) && (typeof a !== 'object' || a === b), m, versus(a, b, 'to equal')));
  define('notEqual', (a, b, m) => check(!same(a, b, false), m, versus(a, b, 'not to equal')));
  define('strictEqual', (a, b, m) => check(is(a, b), m, versus(a, b, 'to be')));
  define('notStrictEqual', (a, b, m) => check(!is(a, b), m, versus(a, b, 'not to be')));
  define('deepEqual', (a, b, m) => check(equal(a, b, false, null), m, versus(a, b, 'to equal')));
  define('deepStrictEqual', (a, b, m) => check(equal(a, b, true, null), m, versus(a, b, 'to equal')));
  define('notDeepEqual', (a, b, m) => check(!equal(a, b, false, null), m, versus(a, b, 'not to equal')));
  define('notDeepStrictEqual', (a, b, m) => check(!equal(a, b, true, null), m, versus(a, b, 'not to equal')));
  define('throws', fails);
  define('doesNotThrow', (action) => void action());
  define('match', (value, pattern, m) => check(apply(regexTest, pattern, [value]) !== null, m, versus(value, pattern, 'to match')));
  define('fail', (m) => check(false, m, () => 'failed'));
  define('default', assert);
  define('strict', assert);
  freeze(assert);

  const describe = (error) => {
    try {
      return short(error instanceof Error ? error.name + ': ' + error.message : error);
    } catch {
      return 'an error';
    }
  };
  /** Runs the tests; says by report(passed, message) how they ended, once. */
  const run = (tests, report) => {
    let promise;
    try {
      promise = tests(assert);
    } catch (error) {
      report(false, describe(error));
      return;
    }
    apply(promiseThen, promise, [() => report(true, ''), (error) => report(false, describe(error))]);
  };
  return freeze({ __proto__: null, run, describe });
})()`;

/** The process: a CommonJS script for `node -e`. */
export const guest = String.raw`'use strict';
const vm = require('node:vm');
const { readFileSync, writeSync } = require('node:fs');
const { nonce, kit, program, tests } = JSON.parse(readFileSync(0, 'utf8'));
const exit = process.reallyExit.bind(process);
const write = (line) => void writeSync(1, nonce + line + '\n');
const stringify = JSON.stringify;
// Nothing of Node is left in reach, for code that finds a way out of its context.
for (const name of Object.getOwnPropertyNames(globalThis))
  if (!['Object', 'Array', 'Promise', 'String', 'JSON', 'Symbol', 'TypeError', 'Error'].includes(name)) {
    try { delete globalThis[name]; } catch {}
  }
const texts = [];
for (let i = 0; i < tests.length; i++) texts.push(tests[i]);
const say = (index, passed, message) =>
  write(stringify({ index, passed: passed === true, message: typeof message === 'string' ? message : '' }));
const options = { codeGeneration: { strings: false, wasm: false } };
function next(index) {
  if (index === texts.length) return exit(0);
  const context = vm.createContext(vm.constants && vm.constants.DONT_CONTEXTIFY ? vm.constants.DONT_CONTEXTIFY : Object.create(null), options);
  const { run, describe } = new vm.Script(kit).runInContext(context);
  let done = false;
  const report = (passed, message) => {
    if (done) return;
    done = true;
    say(index, passed, message);
    next(index + 1);
  };
  let body;
  try {
    body = new vm.Script('"use strict"; (async (assert) => {' + texts[index] + '\n})', { filename: 'tests.js' });
  } catch (error) {
    write(stringify({ index, broken: String(error) }));
    return next(index + 1);
  }
  let script;
  try {
    script = new vm.Script(program, { filename: 'completion.js' });
  } catch (error) {
    // Not an error of the context: it must not be seen there.
    return report(false, String(error));
  }
  try {
    script.runInContext(context);
  } catch (error) {
    return report(false, describe(error));
  }
  run(body.runInContext(context), report);
}
write('ready');
next(0);`;
