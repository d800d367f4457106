/** A traced function: named inputs and outputs over a graph, the unit that engines compile. */
import { ShapeError } from '../core/errors.ts';
import { formatShape, type Shape } from '../core/shapes.ts';
import { exactText } from './ops/common.ts';
import { applyOne, type Node, type Op, type Tensor, type TensorType, type Value } from './tensor.ts';

export interface NamedTensor {
  readonly name: string;
  readonly tensor: Tensor;
}

export interface Program {
  readonly inputs: readonly NamedTensor[];
  readonly outputs: readonly NamedTensor[];
}

interface InputAttributes extends TensorType {
  readonly name: string;
}

/** Placeholder for a bound tensor. Engines bind it by name; it is never lowered. */
export const inputOp: Op<InputAttributes> = {
  name: 'input',
  infer: (_, { dtype, shape }) => [{ dtype, shape }],
  evaluate(_inputs, { name }): readonly Value[] {
    throw new ShapeError({ where: 'input', expected: 'a bound input', received: `"${name}" unbound` });
  },
  lower: (_lowering, _inputs, node) => [node.attributes.name],
};

/** A new named placeholder. */
export function input(name: string, type: TensorType): Tensor {
  return applyOne(inputOp, [], { name, dtype: type.dtype, shape: type.shape });
}

/**
 * Traces `build` once over placeholders.
 *
 * @param types dtype and shape of each named input.
 * @param build pure function from input tensors to named output tensors.
 * @example
 * const program = trace({ x: { dtype: 'float32', shape: [2, 3] } }, ({ x }) => ({ y: sum(mul(x, x)) }));
 */
export function trace<N extends string>(
  types: Readonly<Record<N, TensorType>>,
  build: (inputs: Readonly<Record<N, Tensor>>) => Readonly<Record<string, Tensor>>,
): Program {
  const inputs = (Object.keys(types) as N[]).map((name) => ({ name, tensor: input(name, types[name]) }));
  const named = Object.fromEntries(inputs.map(({ name, tensor }) => [name, tensor])) as Record<N, Tensor>;
  const outputs = Object.entries(build(named)).map(([name, tensor]) => ({ name, tensor }));
  return { inputs, outputs };
}

/** Nodes that the outputs need, inputs before users (ascending id). */
export function reachableNodes(outputs: readonly Tensor[]): Node[] {
  const seen = new Set<Node>();
  const stack = outputs.map((tensor) => tensor.node);
  while (stack.length > 0) {
    const node = stack.pop()!;
    if (seen.has(node)) continue;
    seen.add(node);
    for (const { node: source } of node.inputs) if (!seen.has(source)) stack.push(source);
  }
  return [...seen].sort((a, b) => a.id - b.id);
}

/**
 * The program as text, one node per line, numbered from 0, for tests and for reading.
 *
 * @example
 * %0 = input[name="x"] : float32[2, 3]
 * %1 = mul(%0, %0) : float32[2, 3]
 * return y=%1
 */
export function printProgram(program: Program): string {
  const numbers = new Map<Tensor, string>();
  const lines: string[] = [];
  let next = 0;
  for (const node of reachableNodes(program.outputs.map(({ tensor }) => tensor))) {
    for (const output of node.outputs) numbers.set(output, `%${next++}`);
    const results = node.outputs.map((output) => numbers.get(output)).join(', ');
    const operands = node.inputs.map((tensor) => numbers.get(tensor)).join(', ');
    const attributes = Object.entries(node.attributes)
      .filter(([key]) => node.op !== (inputOp as unknown as Op) || key === 'name')
      .map(([key, value]) => `${key}=${printAttribute(value)}`)
      .join(', ');
    lines.push(
      `${results} = ${node.op.name}${attributes === '' ? '' : `[${attributes}]`}` +
        `${operands === '' ? '' : `(${operands})`} : ${node.outputs.join(', ')}`,
    );
  }
  lines.push(
    `return ${program.outputs.map(({ name, tensor }) => `${name}=${numbers.get(tensor)}`).join(', ')}`,
  );
  return lines.join('\n');
}

function printAttribute(value: unknown): string {
  if (typeof value === 'function') return '<function>';
  if (typeof value === 'number') return exactText(value);
  if (typeof value === 'object' && value !== null && 'data' in value) return printAttribute(value.data);
  if (ArrayBuffer.isView(value)) {
    const data = value as unknown as { length: number; [index: number]: number | bigint };
    const head = Array.from({ length: Math.min(data.length, 4) }, (_, index) => exactText(data[index]!));
    return `{${head.join(', ')}${data.length > 4 ? `, … ${data.length}` : ''}}`;
  }
  if (Array.isArray(value)) return formatShape(value as Shape);
  return JSON.stringify(value);
}
