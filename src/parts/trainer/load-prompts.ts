/** Prompts of online methods: rows as token ids that sampling begins from. */
import { createEncoder, encodeCache, encodeRows, type Row, type Truncation } from '../../data/index.ts';
import type { Tokenizer } from '../../tokenizer/index.ts';
import type { RolloutPrompt } from '../rollout/rollout.ts';
import { readTrainingRows, type TrainingData } from './data-fields.ts';
import { cachedRows, noteReport, type RunObserver } from './run-training.ts';

export interface PromptConfig extends TrainingData {
  readonly maxLength: number;
  readonly truncation: Truncation;
  readonly refused: 'throw' | 'drop';
}

/**
 * The prompts of a run, encoded; from `cachedRows` rows on they are kept in `cacheFolder`.
 *
 * @throws DataError, ConfigError on bad input
 */
export async function loadPrompts(
  config: PromptConfig,
  tokenizer: Tokenizer,
  observer: RunObserver,
  cacheFolder?: string,
): Promise<{ prompts: RolloutPrompt[]; rows: number }> {
  const rows = await readTrainingRows(config, observer.note);
  const { maxLength, truncation, refused } = config;
  const encoder = createEncoder(tokenizer, { maxLength, truncation });
  const keeps = rows.length >= cachedRows ? cacheFolder : undefined;
  const cache = encodeCache(keeps, tokenizer, { prompt: { maxLength, truncation } });
  const encode = (row: Row) => cache?.encode(row, encoder.prompt) ?? encoder.prompt(row);
  const { examples, report } = encodeRows(rows, (row) => ({ ...encode(row), row }), { refused });
  cache?.save();
  noteReport(report, maxLength, observer);
  return {
    prompts: examples.map(({ ids, row }) => ({ ids, row, text: tokenizer.decode(Array.from(ids)) })),
    rows: rows.length,
  };
}
