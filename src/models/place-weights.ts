/** Which stored tensor fills which parameter, and the reading of them. */
import { CheckpointError } from '../core/errors.ts';
import { formatShape, sameShape } from '../core/shapes.ts';
import type { ParameterSpec, Parameters } from '../nn/parameters.ts';
import { OUTPUT_EMBEDDINGS } from './causal-model.ts';
import type { WeightSource } from './weight-source.ts';

/** Tables that some checkpoints carry besides the weights; they follow from the config. */
const TABLES = /(rotary_emb\.inv_freq|masked_bias|attn\.bias|attention\.bias|embeddings\.position_ids)$/;

/**
 * The stored tensor of each parameter. Names may be completed, and an output embedding may stand in for the one parameter
 * that is missing, as `loadWeights` says.
 *
 * @param where what to call the checkpoint in errors
 * @param optional parameters that are left out where they are not stored
 * @throws CheckpointError listing what is missing, unexpected or of another shape
 */
export function matchWeights(
  where: string,
  given: ReadonlyMap<string, WeightSource>,
  parameters: readonly ParameterSpec[],
  optional: readonly string[] = [],
): ReadonlyMap<string, WeightSource> {
  const names = new Set(parameters.map(({ name }) => name));
  const stored = new Map(given);
  completeNames(stored, names);
  const absent = new Set(optional.filter((name) => !stored.has(name)));
  const specs = parameters.filter(({ name }) => !absent.has(name));
  placeOutputEmbedding(stored, names, specs);
  const missing = specs.filter(({ name }) => !stored.has(name)).map(({ name }) => name);
  const unexpected = [...stored.keys()].filter((name) => !names.has(name) && !TABLES.test(name));
  if (missing.length > 0 || unexpected.length > 0) {
    throw new CheckpointError({
      where,
      expected: `the ${specs.length} tensors of the architecture in config.json`,
      received: [
        ...(missing.length > 0 ? [`${missing.length} missing (${preview(missing)})`] : []),
        ...(unexpected.length > 0 ? [`${unexpected.length} unexpected (${preview(unexpected)})`] : []),
      ].join(' and '),
      fix: 'Check that config.json belongs to these weights',
    });
  }
  return new Map(
    specs.map(({ name, shape }) => {
      const tensor = stored.get(name)!;
      if (sameShape(tensor.shape, shape)) return [name, tensor];
      throw new CheckpointError({
        where: tensor.where,
        expected: `shape ${formatShape(shape)} from config.json`,
        received: formatShape(tensor.shape),
        fix: 'Check that config.json belongs to these weights',
      });
    }),
  );
}

/** Reads matched tensors into their parameters; others stay as they are. */
export function readWeights(
  matched: ReadonlyMap<string, WeightSource>,
  parameters: Parameters,
  onWeights: (done: number, total: number) => void = () => {},
): void {
  let done = 0;
  for (const [name, tensor] of matched) {
    const view = parameters.view(name);
    tensor.read(view);
    done += view.length;
    onWeights(done, parameters.count);
  }
}

/** Puts the first part of a parameter's name before names that are known only so. */
function completeNames(stored: Map<string, WeightSource>, names: ReadonlySet<string>): void {
  const bodies = new Set([...names].map((name) => name.split('.', 1)[0]!));
  for (const [name, tensor] of [...stored]) {
    if (names.has(name)) continue;
    const body = [...bodies].find((first) => names.has(`${first}.${name}`));
    if (body === undefined || stored.has(`${body}.${name}`)) continue;
    stored.delete(name);
    stored.set(`${body}.${name}`, tensor);
  }
}

function placeOutputEmbedding(
  stored: Map<string, WeightSource>,
  names: ReadonlySet<string>,
  specs: readonly ParameterSpec[],
): void {
  for (const name of OUTPUT_EMBEDDINGS) {
    const tensor = stored.get(name);
    if (tensor === undefined || names.has(name)) continue;
    stored.delete(name);
    const [missing, ...others] = specs.filter((spec) => !stored.has(spec.name));
    if (missing !== undefined && others.length === 0 && sameShape(missing.shape, tensor.shape))
      stored.set(missing.name, tensor);
  }
}

const preview = (names: readonly string[]): string =>
  names.length <= 8 ? names.join(', ') : `${names.slice(0, 8).join(', ')}, …`;
