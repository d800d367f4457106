/** What prompts and options must be. */
import { ConfigError, DataError } from '../core/errors.ts';
import type { CausalModel } from '../models/causal-model.ts';
import type { GenerateOptions } from './generate.ts';
import type { RowOptions } from './row.ts';
import type { SamplingOptions } from './sample.ts';

/** Refuses prompts and options that cannot be run. */
export function checkRequest(
  prompts: readonly ArrayLike<number>[],
  options: GenerateOptions,
  model: CausalModel,
): void {
  prompts.forEach((prompt, index) => {
    if (prompt.length > 0 && prompt.length < model.maxPositions) return;
    throw new DataError({
      where: `prompt ${index + 1}`,
      expected: `1 to ${model.maxPositions - 1} tokens, the model's context less one`,
      received: `${prompt.length} tokens`,
      fix: prompt.length === 0 ? 'Give a prompt, or a beginning-of-text token' : 'Shorten the prompt',
    });
  });
  const { n = 1, batchSize = 32, beams, speculate = 0 } = options;
  if (!(Number.isInteger(speculate) && speculate >= 0 && speculate <= 64))
    throw optionError('speculate', 'an integer from 0 to 64', String(speculate));
  if (beams !== undefined) checkBeams(options, beams, n);
  for (const [name, count] of Object.entries({ n, batchSize })) checkCount(name, count);
  prompts.forEach((_, index) => {
    checkRow({ ...options, ...options.perPrompt?.(index) }, model.vocabSize);
  });
}

/** Beam search keeps the best of what it follows, and knows neither texts nor distributions. */
function checkBeams(options: GenerateOptions, beams: number, n: number): void {
  if (n > beams) throw optionError('n', `at most the beams, ${beams}`, String(n));
  const without = ['stopTexts', 'entropy', 'topLogProbs', 'onToken', 'constraint', 'speculate'] as const;
  for (const name of without) {
    const value = options[name];
    if (value === undefined || value === false || value === 0 || (Array.isArray(value) && value.length === 0))
      continue;
    throw optionError(name, 'an option that beam search has', 'one that it has not');
  }
}

function checkRow(options: RowOptions & Pick<GenerateOptions, 'decode'>, V: number): void {
  const { maxNewTokens, stopTexts = [], decode } = options;
  checkCount('maxNewTokens', maxNewTokens);
  if (stopTexts.length > 0 && decode === undefined)
    throw optionError('stopTexts', 'a function `decode` beside it', 'none');
  if (stopTexts.includes('')) throw optionError('stopTexts', 'texts that are not empty', '""');
  checkSampling(options, V);
}

function checkCount(name: string, count: number): void {
  if (Number.isInteger(count) && count >= 1) return;
  throw optionError(name, 'a positive integer', String(count));
}

function checkSampling(options: SamplingOptions, V: number): void {
  const { temperature, topK, topP, minP = 0, typicalP = 1, repetitionPenalty = 1 } = options;
  if (!(temperature >= 0)) throw optionError('temperature', '0 or more', String(temperature));
  if (!(Number.isInteger(topK) && topK >= 0))
    throw optionError('topK', 'an integer, 0 or more', String(topK));
  if (!(topP > 0)) throw optionError('topP', 'more than 0', String(topP));
  if (!(minP >= 0 && minP <= 1)) throw optionError('minP', '0 to 1', String(minP));
  if (!(typicalP > 0)) throw optionError('typicalP', 'more than 0', String(typicalP));
  if (!(repetitionPenalty > 0))
    throw optionError('repetitionPenalty', 'more than 0', String(repetitionPenalty));
  for (const token of options.logitBias?.keys() ?? []) {
    if (!(Number.isInteger(token) && token >= 0 && token < V))
      throw optionError('logitBias', `token ids below ${V}`, String(token));
  }
}

function optionError(name: string, expected: string, received: string): ConfigError {
  return new ConfigError({
    where: `generate(${name})`,
    expected,
    received,
    fix: 'Correct the option',
  });
}
