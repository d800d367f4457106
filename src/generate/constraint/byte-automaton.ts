/** Deterministic automata over the bytes of UTF-8, from regular expressions. */
import { DFA, JS, NFA, TooManyNodesError, Transformers, transform } from 'refa';
import { ConfigError } from '../../core/errors.ts';

export interface ByteAutomaton {
  /** Next state by state and byte, −1 where there is none; [states][256]. State 0 is the start. */
  readonly next: readonly Int32Array[];
  /** Whether what leads to a state is a match. */
  readonly accepts: readonly boolean[];
}

/** Most states of an automaton: a table of 256 numbers each. */
const stateLimit = 20_000;

/**
 * The automaton of the texts that a regular expression matches from beginning to end.
 *
 * @param source JavaScript's syntax with the flag `u`: look-ahead and look-behind only where they can be resolved, no
 *   back-references to what has no fixed text
 * @throws ConfigError when it is no regular expression, uses what has no automaton, matches nothing, or is too large
 */
export function regexAutomaton(source: string, where = 'regex'): ByteAutomaton {
  return byteAutomaton(regexDfa(source, where), where, source);
}

/** The same over code points. */
export function regexDfa(source: string, where: string): DFA {
  try {
    const { expression, maxCharacter } = JS.Parser.fromLiteral({ source, flags: 'u' }).parse({
      assertions: 'parse',
      backreferences: 'throw',
      maxNodes: 100_000,
    });
    const resolved = transform(
      Transformers.patternEdgeAssertions({ remove: true }),
      transform(Transformers.applyAssertions(), expression),
    );
    const nfa = NFA.fromRegex(resolved, { maxCharacter }, { assertions: 'throw' });
    const dfa = DFA.fromFA(nfa, new DFA.LimitedNodeFactory(stateLimit));
    dfa.minimize();
    return dfa;
  } catch (cause) {
    if (cause instanceof TooManyNodesError) throw tooLarge(source, where);
    throw new ConfigError({
      where,
      expected: 'a regular expression of JavaScript (flag u) that an automaton can match',
      received: `${source} (${(cause as Error).message})`,
      fix: 'Leave out back-references and look-around that cannot be resolved',
      cause,
    });
  }
}

const tooLarge = (source: string, where: string): ConfigError =>
  new ConfigError({
    where,
    expected: `an automaton of at most ${stateLimit} states`,
    received: `${source.slice(0, 80)}, which needs more`,
    fix: 'Use smaller counts, or fewer alternatives',
  });

/** A sequence of byte ranges that is left to be read, and the state after it. */
interface Rest {
  readonly ranges: readonly (readonly [number, number])[];
  readonly target: object;
}

/** The same language over bytes. */
function byteAutomaton(dfa: DFA, where: string, source: string): ByteAutomaton {
  const next: Int32Array[] = [];
  const accepts: boolean[] = [];
  const numbers = new Map<object | string, number>();
  const targets = new Map<object, number>();
  const pending: { readonly table: Int32Array; readonly rests: readonly Rest[] }[] = [];

  function add(key: object | string, accepting: boolean, rests: () => readonly Rest[]): number {
    const known = numbers.get(key);
    if (known !== undefined) return known;
    const number = next.length;
    if (number >= stateLimit) throw tooLarge(source, where);
    numbers.set(key, number);
    const table = new Int32Array(256).fill(-1);
    next.push(table);
    accepts.push(accepting);
    pending.push({ table, rests: rests() });
    return number;
  }
  type Node = DFA['initial'];
  const idOf = (target: object): number => {
    if (!targets.has(target)) targets.set(target, targets.size);
    return targets.get(target)!;
  };
  const addNode = (node: Node): number =>
    add(node, dfa.finals.has(node), () =>
      Array.from(node.out).flatMap(([{ min, max }, target]) =>
        utf8Ranges(min, max).map((ranges) => ({ ranges, target })),
      ),
    );
  addNode(dfa.initial);
  for (let work = pending.pop(); work !== undefined; work = pending.pop()) {
    const { table, rests } = work;
    for (let byte = 0; byte < 256; byte++) {
      const after = rests.flatMap(({ ranges: [first, ...ranges], target }) =>
        byte >= first![0] && byte <= first![1] ? [{ ranges, target }] : [],
      );
      if (after.length === 0) continue;
      // UTF-8 is a prefix code: where one sequence ends, all do, at the same state.
      if (after[0]!.ranges.length === 0) table[byte] = addNode(after[0]!.target as Node);
      else {
        const key = JSON.stringify(after.map(({ ranges, target }) => [ranges, idOf(target)]));
        table[byte] = add(key, false, () => after);
      }
    }
  }
  const live = liveStates(next, accepts);
  if (!live[0]) {
    throw new ConfigError({
      where,
      expected: 'a regular expression that matches something',
      received: source,
      fix: 'Check its parts',
    });
  }
  for (const table of next) for (let byte = 0; byte < 256; byte++) if (!live[table[byte]!]) table[byte] = -1;
  return { next, accepts };
}

/** States from which a match can be reached. */
function liveStates(next: readonly Int32Array[], accepts: readonly boolean[]): boolean[] {
  const before: Set<number>[] = next.map(() => new Set());
  next.forEach((table, state) => {
    for (const target of table) if (target >= 0) before[target]!.add(state);
  });
  const live = [...accepts];
  const queue = [...live.keys()].filter((state) => live[state]);
  for (let state = queue.pop(); state !== undefined; state = queue.pop()) {
    for (const earlier of before[state]!) {
      if (live[earlier]) continue;
      live[earlier] = true;
      queue.push(earlier);
    }
  }
  return live;
}

/** Last code point of each length of UTF-8, and the first and last surrogate, which are no characters. */
const lengthEnds = [0x7f, 0x7ff, 0xffff, 0x10ffff] as const;
const surrogates = [0xd800, 0xdfff] as const;

/**
 * The UTF-8 of a range of code points as sequences of byte ranges.
 *
 * @example utf8Ranges(0x7f, 0x80) // [[[0x7f, 0x7f]], [[0xc2, 0xc2], [0x80, 0x80]]]
 */
export function utf8Ranges(min: number, max: number): (readonly [number, number])[][] {
  if (min > max) return [];
  const [first, last] = surrogates;
  if (min <= last && max >= first) return [...utf8Ranges(min, first - 1), ...utf8Ranges(last + 1, max)];
  for (const end of lengthEnds) {
    if (min <= end && max > end) return [...utf8Ranges(min, end), ...utf8Ranges(end + 1, max)];
  }
  // Low bits must be free wherever a higher byte differs.
  for (let bits = 6; bits < 21; bits += 6) {
    const mask = 2 ** bits - 1;
    if (min >> bits === max >> bits) continue;
    if ((min & mask) !== 0) return [...utf8Ranges(min, min | mask), ...utf8Ranges((min | mask) + 1, max)];
    if ((max & mask) !== mask)
      return [...utf8Ranges(min, (max & ~mask) - 1), ...utf8Ranges(max & ~mask, max)];
  }
  const [low, high] = [min, max].map((point) => [...Buffer.from(String.fromCodePoint(point))]) as [
    number[],
    number[],
  ];
  return [low.map((byte, i) => [byte, high[i]!] as const)];
}
