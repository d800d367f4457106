/** The reference engine: every operation in float64, one after the other. Slow and plain; all other engines are tested against it. */
import { EngineError } from '../core/errors.ts';
import type { HostArray } from '../core/host-tensor.ts';
import { inputOp, type Program, reachableNodes } from '../graph/program.ts';
import type { Node, Tensor, Value } from '../graph/tensor.ts';
import { programSpecs, requireAlive, resolveBindings, runOnce } from './bindings.ts';
import type { Arrays, Binding, Engine, EngineOptions, Executable, OpTime } from './engine.ts';

/** An engine that evaluates programs in float64. float32 tensors may be bound as Float64Array; fresh outputs are Float64Array. */
export function createInterpreter(options: EngineOptions = {}): Engine {
  const alive = new Set<Executable>();
  let disposed = false;
  return {
    name: 'interpreter',
    async compile(program, { constants = {}, name = 'program' } = {}) {
      requireAlive('interpreter', disposed);
      const executable = interpret(program, constants, name, options.profile === true, () =>
        alive.delete(executable),
      );
      alive.add(executable);
      return executable;
    },
    dispose() {
      disposed = true;
      for (const executable of alive) executable.dispose();
    },
  };
}

function interpret(
  program: Program,
  constants: Arrays,
  name: string,
  profiled: boolean,
  onDispose: () => void,
): Executable {
  const frozen = Object.fromEntries(Object.entries(constants).map(([key, data]) => [key, toFloat64(data)]));
  const nodes = reachableNodes(program.outputs.map(({ tensor }) => tensor)).filter(
    (node) => (node.op as object) !== inputOp,
  );
  const where = `interpreter(${name})`;
  const specs = programSpecs(where, program, constants);
  const calls = new Map<string, number>();
  let disposed = false;

  function bind(inputArrays: Arrays, outputArrays: Arrays = {}): Binding {
    requireAlive(where, disposed);
    const results = resolveBindings(where, specs, { inputs: inputArrays, outputs: outputArrays }, true);
    let released = false;
    const runSync = (): void => {
      requireAlive(where, disposed || released);
      const values = new Map<Tensor, Value>();
      for (const { name: key, tensor } of program.inputs) {
        values.set(tensor, { shape: tensor.shape, data: frozen[key] ?? toFloat64(inputArrays[key]!) });
      }
      for (const node of nodes) evaluateNode(node, values, profiled ? calls : undefined);
      for (const { name: key, tensor } of program.outputs)
        store(values.get(tensor)!.data, results[key]!.data);
    };
    return {
      outputs: results,
      async run() {
        runSync();
      },
      runSync,
      dispose() {
        released = true;
      },
    };
  }

  return {
    name,
    inputs: specs.inputs,
    outputs: specs.outputs,
    bind,
    run: (inputArrays, outputArrays) => runOnce(bind, inputArrays, outputArrays),
    profile(): readonly OpTime[] {
      requireAlive(where, disposed);
      if (!profiled) {
        throw new EngineError({
          where,
          expected: 'an engine created with profile: true',
          received: 'profile: false',
          fix: 'Create the engine with profile: true',
        });
      }
      return [...calls].map(([op, count]) => ({ op, calls: count, microseconds: 0 }));
    },
    dispose() {
      disposed = true;
      onDispose();
    },
  };
}

function evaluateNode(node: Node, values: Map<Tensor, Value>, calls: Map<string, number> | undefined): void {
  const results = node.op.evaluate(
    node.inputs.map((tensor) => values.get(tensor)!),
    node.attributes,
    node.outputs,
  );
  node.outputs.forEach((output, index) => {
    values.set(output, results[index]!);
  });
  calls?.set(node.op.name, (calls.get(node.op.name) ?? 0) + 1);
}

function toFloat64(data: HostArray): Float64Array {
  return data instanceof Float64Array ? data.slice() : Float64Array.from(data as ArrayLike<number>, Number);
}

function store(source: Float64Array, target: HostArray): void {
  if (target instanceof BigInt64Array) {
    for (let i = 0; i < source.length; i++) target[i] = BigInt(source[i]!);
  } else target.set(source);
}
