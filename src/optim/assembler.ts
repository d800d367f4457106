/**
 * A WebAssembly assembler as small as the optimizer's kernels need: functions of numbers over one memory, with locals,
 * one loop form and the instructions in `code`. Expressions nest as they read; no tool chain, no stored bytes.
 *
 * @source WebAssembly Core Specification 2.0, chapter 5 (binary format)
 */

export type Type = 'i32' | 'f32' | 'f64' | 'v128';

/** Instructions in binary form, one after another. Those of an expression leave one value on the stack. */
export type Code = readonly number[];

/** A parameter or local of the function under construction. */
export interface Local {
  readonly get: Code;
  set(value: Code): Code;
}

export interface FunctionBuilder {
  /** A new local variable, zero at first. */
  local(type: Type): Local;
}

export interface FunctionSource {
  readonly name: string;
  readonly parameters: readonly Type[];
  readonly result?: Type;
  /** Instructions of the body; `parameters` are in the order declared. */
  body(parameters: readonly Local[], builder: FunctionBuilder): Code;
}

const typeBytes: Readonly<Record<Type, number>> = { i32: 0x7f, f32: 0x7d, f64: 0x7c, v128: 0x7b };

const plain =
  (...opcode: number[]) =>
  (...operands: readonly Code[]): Code => [...operands.flat(), ...opcode];
const vector =
  (opcode: number, immediate: Code = []) =>
  (...operands: readonly Code[]): Code => [...operands.flat(), 0xfd, ...unsigned(opcode), ...immediate];
/** Alignment hint 2^4 (or 2^3) bytes, then the constant added to the address. */
const at = (alignment: number, offset: number): Code => [alignment, ...unsigned(offset)];

/** Instructions, by their names in the specification. */
export const code = {
  i32: {
    const: (value: number): Code => [0x41, ...signed(value)],
    add: plain(0x6a),
    lessThan: plain(0x49),
  },
  f64: { add: plain(0xa0) },
  v128: {
    load: (address: Code, offset = 0) => vector(0x00, at(4, offset))(address),
    /** Two floats into the lower half. */
    load64: (address: Code, offset = 0) => vector(0x5d, at(3, offset))(address),
    store: (address: Code, value: Code, offset = 0) => vector(0x0b, at(4, offset))(address, value),
  },
  f32x4: {
    splat: vector(0x13),
    sqrt: vector(0xe3),
    add: vector(0xe4),
    sub: vector(0xe5),
    mul: vector(0xe6),
    div: vector(0xe7),
  },
  f64x2: {
    extract: (value: Code, lane: 0 | 1) => vector(0x21, [lane])(value),
    add: vector(0xf0),
    mul: vector(0xf2),
    /** The two floats of the lower half as doubles. */
    promoteLow: vector(0x5f),
  },
  /** Runs `body` at least once and again as long as `condition` is not 0. */
  doWhile: (body: Code, condition: Code): Code => [0x03, 0x40, ...body, ...condition, 0x0d, 0x00, 0x0b],
} as const;

/** A module that imports a shared memory of any size as `host.memory` and exports `functions`. */
export function assemble(functions: readonly FunctionSource[]): Uint8Array<ArrayBuffer> {
  const signatures = functions.map(({ parameters, result }) => [
    0x60,
    ...list(parameters.map((type) => [typeBytes[type]])),
    ...list(result === undefined ? [] : [[typeBytes[result]]]),
  ]);
  const bodies = functions.map((source) => {
    const types: Type[] = [...source.parameters];
    const locals = types.map((_, index) => local(index));
    const builder: FunctionBuilder = { local: (type) => local(types.push(type) - 1) };
    const body = source.body(locals, builder);
    const declared = types.slice(source.parameters.length).map((type) => [1, typeBytes[type]]);
    return sized([...list(declared), ...body, 0x0b]);
  });
  return Uint8Array.from([
    ...[0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    ...section(1, list(signatures)),
    // Kind 2 is a memory; limits 3 say that it is shared, with a least and a greatest number of pages.
    ...section(2, list([[...text('host'), ...text('memory'), 2, 3, ...unsigned(0), ...unsigned(65_536)]])),
    ...section(3, list(functions.map((_, index) => unsigned(index)))),
    ...section(7, list(functions.map(({ name }, index) => [...text(name), 0x00, ...unsigned(index)]))),
    ...section(10, list(bodies)),
  ]);
}

function local(index: number): Local {
  return {
    get: [0x20, ...unsigned(index)],
    set: (value) => [...value, 0x21, ...unsigned(index)],
  };
}

function section(id: number, content: Code): Code {
  return [id, ...sized(content)];
}

function list(items: readonly Code[]): Code {
  return [...unsigned(items.length), ...items.flat()];
}

function sized(content: Code): Code {
  return [...unsigned(content.length), ...content];
}

function text(value: string): Code {
  return sized([...new TextEncoder().encode(value)]);
}

/** Unsigned LEB128: seven bits per byte, lowest first, the top bit set on all but the last. */
function unsigned(value: number): Code {
  return value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...unsigned(value >>> 7)];
}

/** Signed LEB128. */
function signed(value: number): Code {
  return value >= -0x40 && value < 0x40 ? [value & 0x7f] : [(value & 0x7f) | 0x80, ...signed(value >> 7)];
}
