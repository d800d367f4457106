/** Any JSON object: nesting needs a stack, which no regular expression has. */
import { ConfigError } from '../../core/errors.ts';
import { type ByteMachine, machineConstraint } from './byte-machine.ts';
import type { Constraint } from './constraint.ts';
import type { TokenTrie } from './token-trie.ts';

/** Objects and arrays inside one another, at most: a model may not open them for ever. */
export const jsonDepth = 32;
/** Digits before and after the point of a number: a model may not write them for ever. As in JSON schemas. */
const digits = 15;
const exponentDigits = 2;
/** Longest indentation after a line end. */
const longestIndent = 64;

/** What is being read, or what must come next. */
type Place =
  | 'first member'
  | 'key'
  | 'colon'
  | 'value'
  | 'first item'
  | 'after value'
  | 'string'
  | 'escape'
  | 'hex'
  | 'character'
  | 'literal'
  | 'minus'
  | 'zero'
  | 'integer'
  | 'point'
  | 'fraction'
  | 'e'
  | 'sign'
  | 'exponent'
  | 'start'
  | 'end';

export interface JsonState {
  readonly place: Place;
  /** Of white space: 0 none, 1 one space, 2 + k a line end and k spaces. Of digits: how many. Of escapes: how many are left. */
  readonly count: number;
  /** What is left of a literal, or the bounds of the next byte and the number of further ones of a character. */
  readonly rest: string;
  /** The string is a key. */
  readonly key: boolean;
  /** What is open, outermost first: { and [. */
  readonly stack: string;
}

const spaces = new Set<Place>(['first member', 'key', 'value', 'first item', 'after value']);
/** Places at which a number may end. */
const numberEnds = new Set<Place>(['zero', 'integer', 'fraction', 'exponent']);
const literals: Readonly<Record<string, string>> = { t: 'rue', f: 'alse', n: 'ull' };

/**
 * Completions that are one JSON object, as compact or indented as the model likes: one space, or a line end with up to 64
 * spaces, may stand after `{`, `[`, `:` and `,` and before `}` and `]`. At most 32 objects and arrays inside one another;
 * numbers have at most 15 digits before and after the point. Without tokens for all bytes, strings are of ASCII.
 *
 * @throws ConfigError when the vocabulary lacks a printable character of ASCII as a token
 * @source RFC 8259
 */
export function jsonObjectConstraint(trie: TokenTrie): Constraint {
  for (let byte = 0x20; byte < 0x7f; byte++) {
    if ((trie.root.children.get(byte)?.tokens.length ?? 0) > 0) continue;
    throw new ConfigError({
      where: 'JSON object',
      expected: 'a vocabulary with every printable character of ASCII, from which any object can be ended',
      received: `none for ${JSON.stringify(String.fromCharCode(byte))}`,
      fix: 'Use a JSON schema, or a choice',
    });
  }
  return machineConstraint(jsonObjectMachine(trie.complete ? 0xff : 0x7f), trie);
}

/** The machine, over bytes up to `highest`. */
export function jsonObjectMachine(highest = 0xff): ByteMachine<JsonState> {
  return {
    start: { place: 'start', count: 0, rest: '', key: false, stack: '' },
    step: (state, byte) => (byte > highest ? undefined : step(state, byte)),
    accepts: ({ place }) => place === 'end',
    keyOf: ({ place, count, rest, key, stack }) => `${place} ${count} ${rest} ${key ? 'k' : ''}${stack}`,
  };
}

function step(state: JsonState, byte: number): JsonState | undefined {
  const { place, count, rest, key, stack } = state;
  const go = (to: Place, more: Partial<JsonState> = {}): JsonState => ({
    ...{ place: to, count: 0, rest: '', key, stack },
    ...more,
  });
  const char = String.fromCharCode(byte);
  if (spaces.has(place)) {
    const wider = widened(count, char);
    if (wider !== undefined) return go(place, { count: wider });
  }
  switch (place) {
    case 'start':
      return char === '{' ? go('first member', { stack: '{' }) : undefined;
    case 'first member':
      return char === '}' ? closed(stack) : char === '"' ? go('string', { key: true }) : undefined;
    case 'key':
      return char === '"' ? go('string', { key: true }) : undefined;
    case 'colon':
      return char === ':' ? go('value') : undefined;
    case 'first item':
      return char === ']' ? closed(stack) : valueStart(state, char);
    case 'value':
      return valueStart(state, char);
    case 'after value':
      return afterValue(state, char);
    case 'string':
      if (char === '"') return key ? go('colon', { key: false }) : go('after value');
      if (char === '\\') return go('escape');
      if (byte < 0x80) return byte < 0x20 ? undefined : state;
      return characterStart(byte, go);
    case 'escape':
      if (char === 'u') return go('hex', { count: 4 });
      return '"\\/bfnrt'.includes(char) ? go('string') : undefined;
    case 'hex':
      if (!/[0-9a-fA-F]/.test(char)) return undefined;
      return count === 1 ? go('string') : go('hex', { count: count - 1 });
    case 'character': {
      const [low, high] = rest.split('-').map(Number) as [number, number];
      if (byte < low || byte > high) return undefined;
      return count === 1 ? go('string') : go('character', { count: count - 1, rest: continuation });
    }
    case 'literal':
      if (char !== rest[0]) return undefined;
      return rest.length === 1 ? go('after value') : go('literal', { rest: rest.slice(1) });
    case 'end':
      return undefined;
    default:
      return numberStep(state, char, go);
  }
}

type Go = (to: Place, more?: Partial<JsonState>) => JsonState;

function numberStep(state: JsonState, char: string, go: Go): JsonState | undefined {
  const { place, count } = state;
  const isDigit = char >= '0' && char <= '9';
  const more = (to: Place, most: number): JsonState | undefined =>
    count < most ? go(to, { count: count + 1 }) : undefined;
  if (isDigit) {
    if (place === 'minus') return char === '0' ? go('zero') : go('integer', { count: 1 });
    if (place === 'integer') return more('integer', digits);
    if (place === 'point') return go('fraction', { count: 1 });
    if (place === 'fraction') return more('fraction', digits);
    if (place === 'e' || place === 'sign') return go('exponent', { count: 1 });
    if (place === 'exponent') return more('exponent', exponentDigits);
    return undefined;
  }
  if (place === 'e' && (char === '+' || char === '-')) return go('sign');
  if (!numberEnds.has(place)) return undefined;
  if (char === '.' && (place === 'zero' || place === 'integer')) return go('point');
  if ((char === 'e' || char === 'E') && place !== 'exponent') return go('e');
  const after = go('after value');
  return widened(0, char) === undefined
    ? afterValue(after, char)
    : go('after value', { count: widened(0, char)! });
}

function valueStart({ stack }: JsonState, char: string): JsonState | undefined {
  const go = (place: Place, more: Partial<JsonState> = {}): JsonState => ({
    ...{ place, count: 0, rest: '', key: false, stack },
    ...more,
  });
  if (char === '{' || char === '[') {
    if (stack.length >= jsonDepth) return undefined;
    return go(char === '{' ? 'first member' : 'first item', { stack: stack + char });
  }
  if (char === '"') return go('string');
  if (char === '-') return go('minus');
  if (char === '0') return go('zero');
  if (char >= '1' && char <= '9') return go('integer', { count: 1 });
  const rest = literals[char];
  return rest === undefined ? undefined : go('literal', { rest });
}

/** A comma, with nothing before it, or the bracket that closes. */
function afterValue({ stack, count }: JsonState, char: string): JsonState | undefined {
  const inObject = stack.endsWith('{');
  if (char === ',' && count === 0)
    return { place: inObject ? 'key' : 'value', count: 0, rest: '', key: false, stack };
  return char === (inObject ? '}' : ']') ? closed(stack) : undefined;
}

const closed = (stack: string): JsonState => ({
  ...{ place: stack.length === 1 ? 'end' : 'after value', count: 0, rest: '', key: false },
  stack: stack.slice(0, -1),
});

/** White space with one character more. */
function widened(count: number, char: string): number | undefined {
  if (char === '\n') return count === 0 ? 2 : undefined;
  if (char !== ' ') return undefined;
  if (count === 0) return 1;
  return count >= 2 && count < 2 + longestIndent ? count + 1 : undefined;
}

const continuation = `${0x80}-${0xbf}`;

/** The first byte of a character of several. @source RFC 3629, section 4 */
function characterStart(byte: number, go: Go): JsonState | undefined {
  if (byte < 0xc2 || byte > 0xf4) return undefined;
  const low = byte === 0xe0 ? 0xa0 : byte === 0xf0 ? 0x90 : 0x80;
  const high = byte === 0xed ? 0x9f : byte === 0xf4 ? 0x8f : 0xbf;
  return go('character', { count: byte < 0xe0 ? 1 : byte < 0xf0 ? 2 : 3, rest: `${low}-${high}` });
}
