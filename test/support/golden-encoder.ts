/** Classifiers under test/golden/data with what transformers computed from them, and the same computed here. */
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { HostArray } from '../../src/core/host-tensor.ts';
import type { Engine } from '../../src/engine/engine.ts';
import { gradients } from '../../src/graph/gradient.ts';
import { neg } from '../../src/graph/ops/elementwise.ts';
import { pick } from '../../src/graph/ops/indexing.ts';
import { logSoftmax, mean } from '../../src/graph/ops/reduce.ts';
import { trace } from '../../src/graph/program.ts';
import type { TensorType } from '../../src/graph/tensor.ts';
import { weightTypes } from '../../src/models/causal-model.ts';
import type { ClassifierModel } from '../../src/models/classifier-model.ts';
import type { Parameters } from '../../src/nn/parameters.ts';
import { goldenFolder, readGolden } from './golden-model.ts';

/** Contents of recorded.json. */
export interface RecordedScores {
  readonly ids: readonly (readonly number[])[];
  readonly counted: readonly (readonly number[])[];
  readonly types?: readonly (readonly number[])[];
  readonly labels: readonly number[];
  readonly scores: readonly (readonly number[])[];
  readonly loss: number;
  readonly nearest: Readonly<Record<string, number>>;
}

/** Names of all folders that hold a classifier and its logits. */
export const goldenEncoders: readonly string[] = readdirSync(goldenFolder('.'))
  .filter(
    (name) =>
      existsSync(join(goldenFolder(name), 'model.safetensors')) &&
      existsSync(join(goldenFolder(name), 'recorded.json')) &&
      'counted' in (readGolden(name, 'recorded.json') as object),
  )
  .sort();

/** `scores` [B, A], `loss`, the mean cross-entropy of the labels in nats, and its gradient by every weight. */
export async function evaluateClassifier(
  engine: Engine,
  { model, parameters }: { readonly model: ClassifierModel; readonly parameters: Parameters },
  { ids, counted, types, labels }: Pick<RecordedScores, 'ids' | 'counted' | 'types' | 'labels'>,
  withGradients = false,
): Promise<Record<string, HostArray>> {
  const [B, T] = [ids.length, ids[0]!.length];
  const integers: TensorType = { dtype: 'int64', shape: [B, T] };
  const inputTypes: Record<string, TensorType> = {
    ...weightTypes(model),
    ids: integers,
    counted: integers,
    labels: { dtype: 'int64', shape: [B] },
    ...(types === undefined ? {} : { types: integers }),
  };
  const program = trace(inputTypes, (inputs) => {
    const scores = model.classify(inputs, {
      ids: inputs.ids!,
      counted: inputs.counted!,
      ...(types === undefined ? {} : { types: inputs.types! }),
    });
    const loss = neg(mean(pick(logSoftmax(scores), inputs.labels!)));
    const names = withGradients ? parameters.specs.map(({ name }) => name) : [];
    const slopes = gradients(
      loss,
      names.map((name) => inputs[name]!),
    ).map((tensor, index) => [`gradient of ${names[index]!}`, tensor] as const);
    return { scores, loss, ...Object.fromEntries(slopes) };
  });
  const executable = await engine.compile(program);
  const long = (rows: readonly (readonly number[])[]): BigInt64Array =>
    BigInt64Array.from(rows.flat(), BigInt);
  const outputs = await executable.run({
    ...parameters.arrays(),
    ids: long(ids),
    counted: long(counted),
    labels: BigInt64Array.from(labels, BigInt),
    ...(types === undefined ? {} : { types: long(types) }),
  });
  executable.dispose();
  return Object.fromEntries(Object.entries(outputs).map(([name, { data }]) => [name, data]));
}
