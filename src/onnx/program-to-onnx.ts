/** Lowers a traced program to an ONNX model: one call of each operation's `lower`, then names for the outputs. */
import { EngineError } from '../core/errors.ts';
import { allocate, type HostArray, type HostTensor } from '../core/host-tensor.ts';
import { type DType, formatShape, type Shape, sizeOf } from '../core/shapes.ts';
import type { Lowering, OnnxNodeOptions } from '../graph/lowering.ts';
import { inputOp, type Program, reachableNodes } from '../graph/program.ts';
import type { Op, Tensor } from '../graph/tensor.ts';
import { encodeOnnx, type OnnxInitializer, type OnnxModel, type OnnxNode, type OnnxValue } from './model.ts';

export interface OnnxOptions {
  /** Name of the graph, shown by viewers and in ONNX Runtime's messages; default `program`. */
  readonly name?: string;
  /** Inputs to write as initializers, with their numbers: they leave the model's inputs. */
  readonly constants?: Readonly<Record<string, HostArray>>;
  /** Sizes that only a run knows; the program was traced with stand-ins for them. Default: none. */
  readonly openSizes?: readonly OpenSize[];
}

/**
 * A size that only a run knows. The program is traced with a stand-in, a number so odd that every size which contains it shows
 * it as a factor: `value` must divide no other size of the program. A sum of two open sizes (past and new tokens) is one more
 * open size with a stand-in of its own, the sum of theirs.
 */
export interface OpenSize {
  readonly name: string;
  /** The stand-in. */
  readonly value: number;
  /** Where a run reads it: input and axis; or of which open sizes it is the difference. */
  readonly from:
    | { readonly input: string; readonly axis: number }
    | { readonly minuend: string; readonly subtrahend: string };
}

/** Standard operators of ONNX 1.16, and ONNX Runtime's fused ones. */
const opsets = { '': 21, 'com.microsoft': 1 };
const irVersion = 10;

/** Constants up to this size are compared by content; larger ones only by identity, because hashing them costs time. */
const mergedBytes = 4096;

/**
 * Lowers a program to ONNX protobuf bytes. Shapes are static; inputs keep their names; the outputs come in the program's
 * order and keep their names, except that an output named like an input gets the suffix `.out`.
 *
 * @throws EngineError when a constant is not an input of the program, or an input is used that the program does not list.
 * @example
 * writeFileSync('square.onnx', programToOnnx(trace({ x: { dtype: 'float32', shape: [3] } }, ({ x }) => ({ y: mul(x, x) }))));
 */
export function programToOnnx(program: Program, options: OnnxOptions = {}): Uint8Array {
  return encodeOnnx(lowerProgram(program, options));
}

/** As `programToOnnx`, but before encoding: engines keep large initializers out of the protobuf. */
export function lowerProgram(program: Program, options: OnnxOptions = {}): OnnxModel {
  const { name = 'program', constants = {}, openSizes = [] } = options;
  const builder = new ModelBuilder(openSizes);
  const names = new Map<Tensor, string>();
  const inputs: OnnxValue[] = [];
  for (const input of program.inputs) {
    const { dtype, shape } = input.tensor;
    names.set(input.tensor, builder.claim(input.name));
    const data = constants[input.name];
    if (data === undefined) inputs.push({ name: input.name, dtype, shape, ...builder.dimensions(shape) });
    else builder.initializers.push({ name: input.name, dtype, shape, data });
  }
  for (const constant of Object.keys(constants)) {
    if (program.inputs.some((input) => input.name === constant)) continue;
    throw new EngineError({
      where: `${name}(constants)`,
      expected: `inputs of the program (${program.inputs.map((input) => input.name).join(', ')})`,
      received: `"${constant}"`,
      fix: 'Remove it or correct the name',
    });
  }

  const lowered = reachableNodes(program.outputs.map(({ tensor }) => tensor));
  for (const [position, node] of lowered.entries()) {
    if (node.op === (inputOp as unknown as Op)) {
      requireListed(name, node.outputs[0]!, names);
      continue;
    }
    builder.begin(`${node.op.name}_${position}`);
    const results = node.op.lower(
      builder,
      node.inputs.map((tensor) => names.get(tensor)!),
      node,
    );
    for (const [index, output] of node.outputs.entries()) names.set(output, results[index]!);
  }

  const outputs = program.outputs.map(({ name: wanted, tensor }) => ({
    name: builder.nameOutput(names.get(tensor)!, wanted),
    dtype: tensor.dtype,
    shape: tensor.shape,
    ...builder.dimensions(tensor.shape),
  }));
  const { nodes, initializers } = builder.finish();
  return {
    name,
    irVersion,
    producer: 'heed',
    opsets,
    nodes: inRunningOrder(nodes),
    inputs,
    outputs,
    initializers,
  };
}

/**
 * Puts nodes that no other node reads (weight gradients, mostly) last, the one with the longest path behind it first.
 *
 * ONNX Runtime runs what the last such node needs, then what the last but one needs besides, and so on. In this order a
 * weight gradient is computed while what it reads is still in the cache, and what it reads is freed before the backward
 * pass goes on; in the order of the parameters all weight gradients would come at the end, and hold everything until then.
 */
function inRunningOrder(nodes: readonly OnnxNode[]): OnnxNode[] {
  const depths = new Map<string, number>(); // by value: nodes on the longest path to it
  const read = new Set<string>();
  for (const node of nodes) {
    const depth = 1 + Math.max(0, ...node.inputs.map((input) => depths.get(input) ?? 0));
    for (const output of node.outputs) depths.set(output, depth);
    for (const input of node.inputs) read.add(input);
  }
  const depthOf = ({ outputs: [output] }: OnnxNode): number => depths.get(output!)!;
  const isLeaf = (node: OnnxNode): boolean => !node.outputs.some((output) => read.has(output));
  const leaves = nodes.filter(isLeaf).sort((a, b) => depthOf(b) - depthOf(a));
  return [...nodes.filter((node) => !isLeaf(node)), ...leaves];
}

function requireListed(where: string, tensor: Tensor, names: ReadonlyMap<Tensor, string>): void {
  if (names.has(tensor)) return;
  throw new EngineError({
    where,
    expected: 'a program that lists every input its outputs need',
    received: `an unlisted input ${JSON.stringify((tensor.node.attributes as { name?: string }).name)} (${tensor})`,
    fix: 'Build the program with trace(), or add the input to program.inputs',
  });
}

/** Collects nodes and initializers while operations lower themselves. Lives for one `lowerProgram`. */
class ModelBuilder implements Lowering {
  readonly initializers: OnnxInitializer[] = [];
  private readonly nodes: OnnxNode[] = [];
  private readonly taken = new Set<string>();
  private readonly byContent = new Map<string, string>();
  private readonly byIdentity = new Map<HostArray, { readonly shape: Shape; readonly name: string }[]>();
  /** Values made by a node that do not yet carry an output's name. */
  private readonly renameable = new Set<string>();
  private readonly renamed = new Map<string, string>();
  private scope = '';
  private readonly openNames = new Map<string, string>();

  private readonly openSizes: readonly OpenSize[];

  constructor(openSizes: readonly OpenSize[]) {
    this.openSizes = openSizes;
  }

  /** Names the nodes that follow after one operation, so that profiles can be read back. */
  begin(scope: string): void {
    this.scope = scope;
  }

  /** The name itself if it is free, else with the first free suffix. */
  claim(wanted: string): string {
    let name = wanted;
    for (let suffix = 1; this.taken.has(name); suffix++) name = `${wanted}.${suffix}`;
    this.taken.add(name);
    return name;
  }

  node(opType: string, inputs: readonly string[], options: OnnxNodeOptions = {}): readonly string[] {
    const { domain = '', attributes = {}, outputs: count = 1 } = options;
    const name = this.claim(this.scope);
    const outputs = Array.from({ length: count }, (_, index) => this.claim(`${name}:${index}`));
    for (const output of outputs) this.renameable.add(output);
    this.nodes.push({ name, opType, domain, inputs, outputs, attributes });
    return outputs;
  }

  constant({ dtype, shape, data }: HostTensor): string {
    const open = shape.find((size) => typeof this.factor(size) !== 'number');
    if (open !== undefined) {
      throw new EngineError({
        where: this.scope,
        expected: 'constants of a size that is known',
        received: `${formatShape(shape)}, where ${open} stands for a size that only a run knows`,
        fix: 'Compute it from an input',
      });
    }
    // float64 is host arithmetic: models compute in float32.
    if (dtype === 'float64') return this.store('float32', shape, Float32Array.from(data as Float64Array));
    return this.store(dtype, shape, data);
  }

  ints(values: readonly number[]): string {
    if (values.some((value) => typeof this.factor(value) !== 'number')) return this.openInts(values);
    return this.store('int64', [values.length], BigInt64Array.from(values, BigInt));
  }

  scalar(value: number, dtype: DType): string {
    const data = allocate(dtype, 1);
    if (data instanceof BigInt64Array) data[0] = BigInt(value);
    else data[0] = value;
    return this.store(dtype, [], data);
  }

  /** Names of dimensions, where any is open. */
  dimensions(shape: Shape): { dimensions?: readonly (number | string)[] } {
    const dimensions = shape.map((size) => {
      const factor = this.factor(size);
      if (typeof factor === 'number') return factor;
      return [...(factor.rest === 1 ? [] : [factor.rest]), ...factor.sizes.map(({ name }) => name)].join(
        ' * ',
      );
    });
    return dimensions.every((dimension) => typeof dimension === 'number') ? {} : { dimensions };
  }

  /** A size as a product of open sizes and a rest; the size itself where none is in it. */
  private factor(value: number): number | { readonly sizes: readonly OpenSize[]; readonly rest: number } {
    const sizes: OpenSize[] = [];
    let rest = value;
    for (const size of this.openSizes) {
      while (rest !== 0 && rest % size.value === 0) {
        sizes.push(size);
        rest /= size.value;
      }
    }
    return sizes.length === 0 ? value : { sizes, rest };
  }

  /** A list of sizes, computed when the model runs. */
  private openInts(values: readonly number[]): string {
    const parts = values.map((value) => {
      const factor = this.factor(value);
      if (typeof factor === 'number') return this.ints([factor]);
      const known = factor.rest === 1 ? [] : [this.ints([factor.rest])];
      return [...known, ...factor.sizes.map(({ name }) => this.openSize(name))].reduce(
        (product, next) => this.node('Mul', [product, next])[0]!,
      );
    });
    if (parts.length === 1) return parts[0]!;
    return this.node('Concat', parts, { attributes: { axis: { int: 0 } } })[0]!;
  }

  /** An open size as a list of one, computed once. */
  private openSize(name: string): string {
    const known = this.openNames.get(name);
    if (known !== undefined) return known;
    const { from } = this.openSizes.find((size) => size.name === name)!;
    const [value] =
      'input' in from
        ? this.node('Shape', [from.input], {
            attributes: { start: { int: from.axis }, end: { int: from.axis + 1 } },
          })
        : this.node('Sub', [this.openSize(from.minuend), this.openSize(from.subtrahend)]);
    this.openNames.set(name, value!);
    return value!;
  }

  private store(dtype: DType, shape: Shape, data: HostArray): string {
    if (data.length !== sizeOf(shape)) {
      throw new EngineError({
        where: this.scope,
        expected: `${sizeOf(shape)} elements for a constant of shape ${formatShape(shape)}`,
        received: `${data.length}`,
      });
    }
    if (data.byteLength > mergedBytes) return this.storeLarge(dtype, shape, data);
    const bytes = Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString('latin1');
    const key = `${dtype}${formatShape(shape)}${bytes}`;
    const known = this.byContent.get(key);
    if (known !== undefined) return known;
    const name = this.append(dtype, shape, data);
    this.byContent.set(key, name);
    return name;
  }

  private storeLarge(dtype: DType, shape: Shape, data: HostArray): string {
    const sharing = this.byIdentity.get(data) ?? [];
    const known = sharing.find((other) => formatShape(other.shape) === formatShape(shape));
    if (known !== undefined) return known.name;
    const name = this.append(dtype, shape, data);
    this.byIdentity.set(data, [...sharing, { shape, name }]);
    return name;
  }

  private append(dtype: DType, shape: Shape, data: HostArray): string {
    const name = this.claim(`${this.scope}:constant`);
    this.initializers.push({ name, dtype, shape, data });
    return name;
  }

  /** Gives a value the name of an output: by renaming it, or through Identity when it is an input, a constant or already an output. */
  nameOutput(value: string, wanted: string): string {
    const name = this.claim(this.taken.has(wanted) ? `${wanted}.out` : wanted);
    if (this.renameable.delete(value)) {
      this.renamed.set(value, name);
    } else {
      this.nodes.push({
        name: this.claim(`output_${this.nodes.length}`),
        opType: 'Identity',
        domain: '',
        inputs: [value],
        outputs: [name],
        attributes: {},
      });
    }
    return name;
  }

  finish(): { nodes: OnnxNode[]; initializers: OnnxInitializer[] } {
    const rename = (name: string) => this.renamed.get(name) ?? name;
    const nodes = this.nodes.map((node) => ({
      ...node,
      inputs: node.inputs.map(rename),
      outputs: node.outputs.map(rename),
    }));
    return { nodes, initializers: this.initializers };
  }
}
