/** The model card of a run. */
import { existsSync } from 'node:fs';
import { basename } from 'node:path';
import type { MetricDefinition } from '../../core/metrics.ts';
import { modelCard, publicId } from '../../models/model-card.ts';
import type { MetricRecord } from './trainer.ts';

export interface RunCardOptions {
  readonly method: {
    readonly id: string;
    readonly summary: string;
    readonly metrics: readonly MetricDefinition[];
  };
  /** What the run started from: a path or a hub id. */
  readonly model: string;
  /** Data files or hub ids. */
  readonly data: readonly string[];
  readonly configText: string;
  /** What `config.json` says the result is. */
  readonly modelConfig: Readonly<Record<string, unknown>>;
  /** Whether the result is an adapter on the model. */
  readonly adapter?: boolean;
}

/** Records of the log that say how far it was, not how well. */
const COUNTERS = /^(step|epoch|num_tokens|lr|ms|.*_per_second|.*runtime)$/;

/**
 * README.md of a trained model: what it was made from and how, and the last value of each logged figure.
 *
 * @param history the run's records in order
 */
export function runCard(
  { method, model, data, configText, modelConfig, adapter = false }: RunCardOptions,
  history: readonly MetricRecord[],
): string {
  const hub = (source: string): string | undefined => (existsSync(source) ? undefined : publicId(source));
  const last = Object.assign({}, ...history) as MetricRecord;
  const meanings = new Map(
    method.metrics.map(({ name, description, unit }) => [
      name,
      unit === '1' ? description : `${description} (${unit})`,
    ]),
  );
  const figures = Object.entries(last)
    .filter(([name, value]) => typeof value === 'number' && !COUNTERS.test(name))
    .map(([name, value]) => ({
      name,
      value: value as number,
      meaning: meanings.get(name.replace(/^eval_/, '')),
    }));
  const isScore = JSON.stringify(modelConfig.architectures ?? '').includes('ForSequenceClassification');
  const source = hub(model);
  const steps = last.step === undefined ? '' : ` in ${last.step} steps`;
  const datasets = data.map(hub).filter((id) => id !== undefined);
  return modelCard({
    title: `${basename(model)}, trained with ${method.id}`,
    summary:
      `Made from ${source === undefined ? `\`${basename(model)}\`` : `[${source}](https://huggingface.co/${source})`} ` +
      `by \`heed ${method.id}\`${steps}: ${method.summary}. ` +
      `Data: ${data.map((file) => `\`${hub(file) ?? basename(file)}\``).join(', ')}.`,
    pipeline: isScore ? 'text-classification' : 'text-generation',
    ...(adapter ? { library: 'peft' as const } : {}),
    baseModel: source,
    datasets,
    tags: [method.id, ...(adapter ? ['lora'] : []), ...(isScore ? ['reward-model'] : [])],
    figures,
    configText: withoutFolders(configText),
  });
}

/** Absolute paths cut to their last part: a card is published, and folders of a machine are nobody's business. */
const withoutFolders = (text: string): string =>
  text.replace(/(^|[\s'"[,])(?:~|[A-Za-z]:)?[\\/](?:[^\s'"\\/,\]]+[\\/])*/gm, '$1');
