/** Reverse-mode differentiation of the graph: the gradient is more graph. */
import { ShapeError, UnsupportedOpError } from '../core/errors.ts';
import { formatShape, sameShape } from '../core/shapes.ts';
import { constantLike } from './ops/common.ts';
import { after, customOp } from './ops/control.ts';
import { add } from './ops/elementwise.ts';
import { apply, type Node, nextNodeId, type Tensor } from './tensor.ts';

/**
 * Vector–Jacobian product: cotangents of `outputs` → cotangents of `wrt`.
 * Tensors in `wrt` are independent variables: nothing is propagated through them.
 *
 * @param cotangents one per output, of its shape; undefined means zero
 * @returns one per `wrt` tensor, undefined where no path carries a gradient
 * @throws UnsupportedOpError when a path leads through an operation without a gradient rule
 */
export function vjp(
  outputs: readonly Tensor[],
  cotangents: readonly (Tensor | undefined)[],
  wrt: readonly Tensor[],
): (Tensor | undefined)[] {
  const targets = new Set(wrt);
  const onPath = nodesBetween(outputs, targets);
  const gradients = new Map<Tensor, Tensor>();
  const accumulate = (tensor: Tensor, g: Tensor): void => {
    if (!sameShape(tensor.shape, g.shape)) {
      throw new ShapeError({
        where: `gradient of ${tensor.node.op.name}`,
        expected: `a cotangent of shape ${formatShape(tensor.shape)}`,
        received: formatShape(g.shape),
        fix: 'Fix the gradient rule that made it',
      });
    }
    const known = gradients.get(tensor);
    gradients.set(tensor, known === undefined ? g : add(known, g));
  };
  outputs.forEach((output, index) => {
    const g = cotangents[index];
    if (g !== undefined) accumulate(output, g);
  });
  // Descending id: every user of a node comes before the node.
  for (const node of [...onPath].sort((a, b) => b.id - a.id)) {
    const own = node.outputs.map((output) => (targets.has(output) ? undefined : gradients.get(output)));
    if (own.every((g) => g === undefined)) continue;
    if (node.op.gradient === undefined) {
      if (node.op.name === 'stopGradient') continue;
      throw new UnsupportedOpError({
        where: 'grad',
        expected: `a path of differentiable operations from the result to what it is differentiated by`,
        received: `"${node.op.name}", which has no gradient`,
        fix: 'Wrap it in stopGradient() if no gradient should pass',
      });
    }
    const results = node.op.gradient({
      inputs: node.inputs,
      outputs: node.outputs,
      cotangents: own,
      attributes: node.attributes,
    });
    node.inputs.forEach((tensor, index) => {
      const g = results[index];
      const needed = targets.has(tensor) || onPath.has(tensor.node);
      if (g !== undefined && needed && tensor.dtype === 'float32') accumulate(tensor, g);
    });
  }
  return wrt.map((tensor) => gradients.get(tensor));
}

/** Nodes reachable from `outputs`, not through `targets`, from which some target is reachable by float32 edges. */
function nodesBetween(outputs: readonly Tensor[], targets: ReadonlySet<Tensor>): Set<Node> {
  const visited = new Set<Node>();
  const stack = outputs.filter((tensor) => !targets.has(tensor)).map((tensor) => tensor.node);
  while (stack.length > 0) {
    const node = stack.pop()!;
    if (visited.has(node)) continue;
    visited.add(node);
    if (node.op.name === 'stopGradient') continue;
    for (const tensor of node.inputs)
      if (!targets.has(tensor) && !visited.has(tensor.node)) stack.push(tensor.node);
  }
  const leading = new Set<Node>();
  for (const node of [...visited].sort((a, b) => a.id - b.id)) {
    if (node.op.name === 'stopGradient') continue;
    // A comparison or an index has no gradient to give: edges that are not float32 do not lead anywhere.
    const leads = node.inputs.some(
      (tensor) => targets.has(tensor) || (leading.has(tensor.node) && tensor.dtype === 'float32'),
    );
    if (leads && node.outputs.some((output) => output.dtype === 'float32')) leading.add(node);
  }
  return leading;
}

/**
 * Gradient of a scalar: dL/dx for each x, zeros where L does not depend on x.
 *
 * @throws ShapeError when `loss` is not a scalar
 */
export function gradients(loss: Tensor, wrt: readonly Tensor[]): Tensor[] {
  if (loss.shape.length !== 0) {
    throw new ShapeError({
      where: 'gradients',
      expected: 'a scalar loss',
      received: `shape ${formatShape(loss.shape)}`,
      fix: 'Reduce it with sum() or mean()',
    });
  }
  return vjp([loss], [constantLike(loss, 1)], wrt).map((g, index) => g ?? constantLike(wrt[index]!, 0));
}

/**
 * Function that returns the value of `f` and its gradient by every argument.
 *
 * @example
 * const { value, gradients: [dx] } = valueAndGrad((x) => sum(mul(x, x)))(x); // dx = 2x
 */
export function valueAndGrad(
  f: (...inputs: readonly Tensor[]) => Tensor,
): (...inputs: readonly Tensor[]) => { value: Tensor; gradients: Tensor[] } {
  return (...inputs) => {
    const value = f(...inputs);
    return { value, gradients: gradients(value, inputs) };
  };
}

/** Function that returns the gradient of a scalar function by every argument. */
export function grad(
  f: (...inputs: readonly Tensor[]) => Tensor,
): (...inputs: readonly Tensor[]) => Tensor[] {
  return (...inputs) => valueAndGrad(f)(...inputs).gradients;
}

/**
 * A function with a gradient of its own.
 *
 * @param rule `forward(...inputs)`, and `backward(inputs, outputs, cotangents)` that returns a cotangent per input
 *   (undefined = none). Only the inputs receive gradients; tensors the forward function closes over do not.
 */
export function customGradient(rule: {
  readonly forward: (...inputs: readonly Tensor[]) => readonly Tensor[];
  readonly backward: (
    inputs: readonly Tensor[],
    outputs: readonly Tensor[],
    cotangents: readonly (Tensor | undefined)[],
  ) => readonly (Tensor | undefined)[];
}): (...inputs: readonly Tensor[]) => readonly Tensor[] {
  return (...inputs) => {
    const outputs = rule.forward(...inputs);
    return apply(customOp, [...outputs, ...inputs], { outputCount: outputs.length, backward: rule.backward });
  };
}

/**
 * Rematerialisation: computes `f` now, keeps only its inputs and outputs, and computes the inside again for the gradient.
 * Costs one more forward pass of `f`; saves the memory of everything inside it. Tensors that `f` closes over
 * (weights) receive their gradients too.
 */
export function checkpoint(
  f: (...inputs: readonly Tensor[]) => readonly Tensor[],
): (...inputs: readonly Tensor[]) => readonly Tensor[] {
  return (...inputs) => {
    const firstInside = nextNodeId();
    const outputs = f(...inputs);
    const inside = nodesInside(outputs, firstInside);
    const given = new Set(inputs);
    const closedOver = [
      ...new Set(
        [...inside.flatMap((node) => node.inputs), ...outputs].filter(
          (x) => x.node.id < firstInside && !given.has(x),
        ),
      ),
    ];
    const backward = (
      primals: readonly Tensor[],
      _outputs: readonly Tensor[],
      cotangents: readonly (Tensor | undefined)[],
    ): readonly (Tensor | undefined)[] => {
      const ready = cotangents.filter((g) => g !== undefined);
      const late = inputs.map((_, index) => after(primals[index]!, ready));
      const again = replay(
        inside,
        new Map<Tensor, Tensor>([
          ...inputs.map((tensor, index) => [tensor, late[index]!] as const),
          ...closedOver.map((tensor, index) => [tensor, primals[inputs.length + index]!] as const),
        ]),
      );
      const recomputed = outputs.map((tensor) => again.get(tensor)!);
      return vjp(recomputed, cotangents, [...late, ...primals.slice(inputs.length)]);
    };
    return apply(customOp, [...outputs, ...inputs, ...closedOver], { outputCount: outputs.length, backward });
  };
}

function nodesInside(outputs: readonly Tensor[], firstInside: number): Node[] {
  const inside = new Set<Node>();
  const stack = outputs.map((tensor) => tensor.node);
  while (stack.length > 0) {
    const node = stack.pop()!;
    if (node.id < firstInside || inside.has(node)) continue;
    inside.add(node);
    for (const tensor of node.inputs) stack.push(tensor.node);
  }
  return [...inside].sort((a, b) => a.id - b.id);
}

/** Applies `nodes` (ascending id) again with some tensors replaced; returns old tensor → new tensor. */
function replay(nodes: readonly Node[], replaced: Map<Tensor, Tensor>): Map<Tensor, Tensor> {
  for (const node of nodes) {
    const inputs = node.inputs.map((tensor) => replaced.get(tensor) ?? tensor);
    const outputs = apply(node.op, inputs, node.attributes);
    node.outputs.forEach((old, index) => {
      replaced.set(old, outputs[index]!);
    });
  }
  return replaced;
}
