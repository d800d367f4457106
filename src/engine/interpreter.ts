/** The reference engine: every operation in float64, one after the other. Slow and plain; all other engines are tested against it. */
import { EngineError } from '../core/errors.ts';
import { allocate, dtypeOf, type HostArray, type HostTensor } from '../core/host-tensor.ts';
import { formatShape, sizeOf } from '../core/shapes.ts';
import { inputOp, type Program, reachableNodes } from '../graph/program.ts';
import type { Node, Tensor, Value } from '../graph/tensor.ts';
import type { Arrays, Binding, Engine, EngineOptions, Executable, OpTime, TensorSpec } from './engine.ts';

/** An engine that evaluates programs in float64. float32 tensors may be bound as Float64Array; fresh outputs are Float64Array. */
export function createInterpreter(options: EngineOptions = {}): Engine {
  const alive = new Set<Executable>();
  return {
    name: 'interpreter',
    async compile(program, { constants = {}, name = 'program' } = {}) {
      const executable = interpret(program, constants, name, options.profile === true, () =>
        alive.delete(executable),
      );
      alive.add(executable);
      return executable;
    },
    dispose() {
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
  const specs = (named: Program['inputs']): TensorSpec[] =>
    named.map(({ name: key, tensor }) => ({ name: key, dtype: tensor.dtype, shape: tensor.shape }));
  const inputs = specs(program.inputs.filter((input) => !(input.name in frozen)));
  const outputs = specs(program.outputs);
  const calls = new Map<string, number>();
  let disposed = false;
  const fail = (expected: string, received: string, fix: string): never => {
    throw new EngineError({ where: `interpreter(${name})`, expected, received, fix });
  };

  function bind(inputArrays: Arrays, outputArrays: Arrays = {}): Binding {
    if (disposed) fail('an executable in use', 'a disposed one', 'Compile the program again');
    checkNames(inputArrays, inputs, 'input', fail);
    checkNames(outputArrays, outputs, 'output', fail);
    for (const spec of inputs) {
      const data = inputArrays[spec.name];
      if (data === undefined) fail(`an array for input "${spec.name}"`, 'none', 'Bind every input');
      checkArray(spec, data!, 'input', fail);
    }
    const results: Record<string, HostTensor> = {};
    for (const spec of outputs) {
      const data =
        outputArrays[spec.name] ??
        allocate(spec.dtype === 'float32' ? 'float64' : spec.dtype, sizeOf(spec.shape));
      checkArray(spec, data, 'output', fail);
      results[spec.name] = { dtype: dtypeOf(data), shape: spec.shape, data };
    }
    let released = false;
    const runSync = (): void => {
      if (disposed || released) fail('a binding in use', 'a disposed one', 'Bind again');
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
    inputs,
    outputs,
    bind,
    async run(inputArrays, outputArrays) {
      const binding = bind(inputArrays, outputArrays);
      try {
        await binding.run();
        return binding.outputs;
      } finally {
        binding.dispose();
      }
    },
    profile(): readonly OpTime[] {
      if (!profiled)
        fail(
          'an engine created with profile: true',
          'profile: false',
          'Create the engine with profile: true',
        );
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

type Fail = (expected: string, received: string, fix: string) => never;

function checkNames(arrays: Arrays, specs: readonly TensorSpec[], kind: string, fail: Fail): void {
  for (const name of Object.keys(arrays)) {
    if (!specs.some((spec) => spec.name === name)) {
      fail(
        `an ${kind} named ${specs.map((spec) => `"${spec.name}"`).join(', ')}`,
        `"${name}"`,
        'Check the spelling',
      );
    }
  }
}

function checkArray(spec: TensorSpec, data: HostArray, kind: string, fail: Fail): void {
  const dtype = dtypeOf(data);
  if (dtype !== spec.dtype && !(dtype === 'float64' && spec.dtype === 'float32')) {
    fail(`${spec.dtype} for ${kind} "${spec.name}"`, dtype, 'Bind an array of that type');
  }
  if (data.length !== sizeOf(spec.shape)) {
    fail(
      `${sizeOf(spec.shape)} elements for ${kind} "${spec.name}" of shape ${formatShape(spec.shape)}`,
      `${data.length}`,
      'Bind an array of that size',
    );
  }
}

function toFloat64(data: HostArray): Float64Array {
  return data instanceof Float64Array ? data.slice() : Float64Array.from(data as ArrayLike<number>, Number);
}

function store(source: Float64Array, target: HostArray): void {
  if (target instanceof BigInt64Array) {
    for (let i = 0; i < source.length; i++) target[i] = BigInt(source[i]!);
  } else target.set(source);
}
