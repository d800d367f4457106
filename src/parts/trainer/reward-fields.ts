/** Where the scores of an online run come from: the fields that choose rewards, and the rewards that they choose. */
import { existsSync, statSync } from 'node:fs';
import { basename, dirname, resolve } from 'node:path';
import { z } from 'zod';
import { field } from '../../core/config.ts';
import { ConfigError } from '../../core/errors.ts';
import { createRng } from '../../core/rng.ts';
import { suggest } from '../../core/suggest.ts';
import { createRemoteClient } from '../remote/openai-client.ts';
import { remoteScorer } from '../remote/remote-scorer.ts';
import type { BuiltinReward, RewardServices } from '../scorer/builtin-reward.ts';
import { builtinRewards } from '../scorer/builtin-rewards.ts';
import { functionReward, isModulePath, loadRewardFunction } from '../scorer/reward-function.ts';
import { rewardWeight } from '../scorer/reward-weight.ts';
import type { Scorer } from '../scorer/scorer.ts';
import { type Reward, type WeightedReward, weightedScorer } from '../scorer/weighted-scorer.ts';

export const rewardFields = {
  rewardModel: field(z.string().optional(), {
    aliases: ['rewardModelPath'],
    placeholder: 'folder',
  }).describe(
    'model that scores completions: a folder that `heed bt-rm` wrote, or any …ForSequenceClassification; stands before the rewards of --reward',
  ),
  reward: field(z.array(z.string()).default([]), {
    aliases: ['rewards', 'rewardFuncs'],
    placeholder: 'name',
  }).describe(
    `what scores completions, several by a,b or the flag again: ${[...builtinRewards.keys()].join(', ')}; a module that exports a function (rewards.mjs, rewards.mjs#name); a folder of a reward model; a server that scores (http://localhost:8000/v1#model)`,
  ),
  rewardWeights: field(z.array(z.union([z.number(), z.string()])).optional(), {
    placeholder: 'number,…',
  }).describe(
    'a weight for each reward, in order, 1 by default; 1..0@50 goes from 1 to 0 over the first 50 iterations',
  ),
  rewardOptions: field(z.record(z.string(), z.record(z.string(), z.unknown())).default({}), {
    placeholder: 'map',
  }).describe('options of rewards by their name: {length: {maximum: 200, margin: 50}}'),
};

export interface RewardChoice {
  readonly rewardModel?: string | undefined;
  readonly reward: readonly string[];
  readonly rewardWeights?: readonly (number | string)[] | undefined;
  readonly rewardOptions: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
}

/** A reward as the configuration names it. */
export type RewardSource =
  | { readonly kind: 'model'; readonly folder: string }
  | { readonly kind: 'module'; readonly path: string }
  /** A server's reward model: the address up to /v1, and its name there. */
  | { readonly kind: 'server'; readonly url: string; readonly model: string }
  | { readonly kind: 'builtin'; readonly reward: BuiltinReward };

/**
 * The rewards of a configuration in order, without loading any.
 *
 * @throws ConfigError when there is none, or a text names none
 */
export function rewardSources({ rewardModel, reward }: RewardChoice): readonly RewardSource[] {
  const sources = [
    ...(rewardModel === undefined ? [] : [{ kind: 'model', folder: rewardModel } as const]),
    ...reward.map(rewardSource),
  ];
  if (sources.length > 0) return sources;
  throw new ConfigError({
    where: '--reward',
    expected: 'at least one reward',
    received: 'none',
    fix: 'Write --reward exact-answer, --reward ./my-reward.mjs or --reward-model <folder>',
  });
}

function rewardSource(text: string): RewardSource {
  const reward = builtinRewards.get(text);
  if (reward !== undefined) return { kind: 'builtin', reward };
  const [, url, model] = /^(https?:\/\/[^#]+)(?:#(.+))?$/.exec(text) ?? [];
  if (url !== undefined) {
    if (model !== undefined) return { kind: 'server', url, model };
    throw new ConfigError({
      where: '--reward',
      expected: 'an address with the name of the model behind #, such as http://localhost:8000/v1#reward',
      received: text,
    });
  }
  if (isModulePath(text)) return { kind: 'module', path: text };
  if (existsSync(text) && statSync(text).isDirectory()) return { kind: 'model', folder: text };
  const near = suggest(text, builtinRewards.keys());
  throw new ConfigError({
    where: '--reward',
    expected: `${[...builtinRewards.keys()].join(', ')}, a module (.mjs, .js, .ts …) or a folder of a reward model`,
    received: `"${text}", which is none of them and no folder that exists`,
    ...(near !== undefined && { fix: `Did you mean ${near}?` }),
  });
}

/** A name for the model of a folder: runs/politeness/model is `politeness`. */
export function rewardModelName(folder: string): string {
  const full = resolve(folder);
  return /^(model|checkpoint-\d+)$/.test(basename(full)) ? basename(dirname(full)) : basename(full);
}

/**
 * Loads the rewards of a configuration as one scorer.
 *
 * @param modelReward makes the reward of a model folder
 * @throws ConfigError when a reward cannot be had, weights and rewards differ in number, or an option is wrong or belongs
 *   to no reward
 */
export async function openRewards(
  choice: RewardChoice,
  modelReward: (folder: string, name: string) => Reward,
  services: RewardServices,
): Promise<Scorer> {
  const { rewardOptions: options } = choice;
  const sources = rewardSources(choice);
  const weights = choice.rewardWeights ?? sources.map(() => 1);
  if (weights.length !== sources.length) {
    throw new ConfigError({
      where: '--reward-weights',
      expected: `${sources.length}, one for each reward`,
      received: String(weights.length),
    });
  }
  const parsed = weights.map(rewardWeight);
  const rewards: WeightedReward[] = [];
  for (const [index, source] of sources.entries()) {
    const reward = await openReward(source, options, modelReward, services);
    rewards.push({ reward, weight: parsed[index]! });
  }
  const scorer = weightedScorer(rewards);
  const names = rewards.map(({ reward }) => reward.name);
  for (const name of Object.keys(options)) {
    if (names.includes(name)) continue;
    throw new ConfigError({
      where: 'rewardOptions',
      expected: `options of ${names.join(', ')}`,
      received: name,
      fix: 'Remove them, or add the reward',
    });
  }
  return scorer;
}

async function openReward(
  source: RewardSource,
  options: RewardChoice['rewardOptions'],
  modelReward: (folder: string, name: string) => Reward,
  services: RewardServices,
): Promise<Reward> {
  switch (source.kind) {
    case 'model':
      return modelReward(source.folder, rewardModelName(source.folder));
    case 'module': {
      const { name, score } = await loadRewardFunction(source.path);
      return functionReward(name, score, options[name]);
    }
    case 'server': {
      const rng = createRng(services.seed).split('remote reward');
      const client = createRemoteClient({ baseUrl: source.url, apiKey: services.env['OPENAI_API_KEY'], rng });
      return remoteScorer({ client, model: source.model });
    }
    case 'builtin': {
      const { reward } = source;
      const result = reward.options.safeParse(options[reward.name] ?? {});
      if (result.success) return reward.build(result.data, services);
      const [issue] = result.error.issues;
      throw new ConfigError({
        where: ['rewardOptions', reward.name, ...(issue?.path ?? [])].join('.'),
        expected: `options of ${reward.name} (${Object.keys(reward.options.shape).join(', ')})`,
        received: issue?.message ?? 'others',
        fix: 'See docs/guide/rewards.md',
      });
    }
  }
}
