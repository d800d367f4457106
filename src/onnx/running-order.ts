/** The order in which ONNX Runtime runs a program. */
import { type Program, reachableNodes } from '../graph/program.ts';
import type { Node } from '../graph/tensor.ts';

/**
 * Nodes of a program as ONNX Runtime runs them: what the last node that no other reads needs, depth first, then what the last but
 * one needs besides, and so on. `lowerProgram` puts those nodes last, the one with the longest path behind it first, so that the
 * one with the shortest path is reached first.
 *
 * @returns every node that the outputs need, each after those it reads
 */
export function runningOrder(program: Program): Node[] {
  const nodes = reachableNodes(program.outputs.map(({ tensor }) => tensor));
  const depths = new Map<Node, number>();
  const read = new Set<Node>();
  for (const node of nodes) {
    depths.set(
      node,
      1 + node.inputs.reduce((most, { node: input }) => Math.max(most, depths.get(input) ?? 0), 0),
    );
    for (const input of node.inputs) read.add(input.node);
  }
  const leaves = nodes.filter((node) => !read.has(node)).sort((a, b) => depths.get(a)! - depths.get(b)!);
  const order: Node[] = [];
  const seen = new Set<Node>();
  // A stack of its own: paths are longer than the call stack is deep.
  for (const leaf of leaves) {
    const stack = [{ node: leaf, next: 0 }];
    seen.add(leaf);
    while (stack.length > 0) {
      const top = stack.at(-1)!;
      const input = top.node.inputs[top.next++]?.node;
      if (input === undefined) order.push(stack.pop()!.node);
      else if (!seen.has(input)) {
        seen.add(input);
        stack.push({ node: input, next: 0 });
      }
    }
  }
  return order;
}
