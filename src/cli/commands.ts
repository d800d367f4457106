/**
 * All commands by name. `heed --help` prints this list and nothing else is loaded for it: keep it free of imports other
 * than types, and load a command's code in `load`.
 */
import type { ConfigSchema } from '../core/config.ts';
import type { TrainMethod } from '../parts/method.ts';
import type { CommandModule } from './command.ts';

export interface CommandRecord {
  readonly name: string;
  /** One line, without a full stop. */
  readonly summary: string;
  readonly group: 'Train' | 'Use' | 'Look' | 'Machine';
  /** True for methods: they also run as `heed train <name>`. */
  readonly trains?: boolean;
  load(): Promise<CommandModule>;
}

export const commands: readonly CommandRecord[] = [
  {
    name: 'quickstart',
    summary: 'SFT, labels, reward model, DPO and PPO in a small world, judged on its truth, in minutes',
    group: 'Train',
    load: async () => (await import('./commands/quickstart.ts')).command,
  },
  {
    name: 'eval',
    summary: 'score the completions of a model with rewards: means with intervals, by category',
    group: 'Look',
    load: async () => (await import('./commands/eval.ts')).command,
  },
  {
    name: 'eval-rm',
    summary: 'judge a reward model on preferences: accuracy by category, calibration',
    group: 'Look',
    load: async () => (await import('./commands/eval-rm.ts')).command,
  },
  {
    name: 'inspect',
    summary: 'show what a data set holds, and with a model its tokens, masks and cuts',
    group: 'Look',
    load: async () => (await import('./commands/inspect.ts')).command,
  },
  {
    name: 'data',
    summary: 'convert, split, mix and count data sets',
    group: 'Look',
    load: async () => (await import('./commands/data.ts')).command,
  },
  {
    name: 'sft',
    summary: 'supervised fine-tuning on texts, conversations or prompts with completions',
    group: 'Train',
    trains: true,
    load: async () => trainModule((await import('../methods/supervised/sft.ts')).sft),
  },
  {
    name: 'gkd',
    summary:
      'on-policy distillation: learn a teacher’s whole distribution, on completions of the student’s own',
    group: 'Train',
    trains: true,
    load: async () => trainModule((await import('../methods/supervised/gkd.ts')).gkd),
  },
  {
    name: 'dpo',
    summary: 'direct preference optimization on pairs of a chosen and a rejected completion',
    group: 'Train',
    trains: true,
    load: async () => trainModule((await import('../methods/preference/dpo.ts')).dpo),
  },
  {
    name: 'kto',
    summary: 'Kahneman–Tversky optimization on single completions marked desirable or undesirable',
    group: 'Train',
    trains: true,
    load: async () => trainModule((await import('../methods/preference/kto.ts')).kto),
  },
  {
    name: 'bco',
    summary: 'binary classifier optimization on single completions marked desirable or undesirable',
    group: 'Train',
    trains: true,
    load: async () => trainModule((await import('../methods/preference/bco.ts')).bco),
  },
  {
    name: 'orpo',
    summary: 'odds ratio preference optimization: SFT and preferences in one loss, without a reference',
    group: 'Train',
    trains: true,
    load: async () => trainModule((await import('../methods/preference/orpo.ts')).orpo),
  },
  {
    name: 'cpo',
    summary:
      'contrastive preference optimization: pairs and the chosen side’s likelihood, without a reference',
    group: 'Train',
    trains: true,
    load: async () => trainModule((await import('../methods/preference/cpo.ts')).cpo),
  },
  {
    name: 'simpo',
    summary: 'simple preference optimization: mean log-probabilities with a margin, without a reference',
    group: 'Train',
    trains: true,
    load: async () => trainModule((await import('../methods/preference/simpo.ts')).simpo),
  },
  {
    name: 'bt-rm',
    summary: 'reward model on pairs of a chosen and a rejected completion (Bradley–Terry)',
    group: 'Train',
    trains: true,
    load: async () => trainModule((await import('../methods/reward/bt-rm.ts')).btRm),
  },
  {
    name: 'pair-rm',
    summary: 'preference model that reads two completions together and tells which is preferred',
    group: 'Train',
    trains: true,
    load: async () => trainModule((await import('../methods/reward/pair-rm.ts')).pairRm),
  },
  {
    name: 'regression-rm',
    summary: 'reward model on ratings of one or more attributes (mean squared error)',
    group: 'Train',
    trains: true,
    load: async () => trainModule((await import('../methods/reward/regression-rm.ts')).regressionRm),
  },
  {
    name: 'prm',
    summary: 'process reward model on solutions whose steps are labelled right or wrong',
    group: 'Train',
    trains: true,
    load: async () => trainModule((await import('../methods/reward/prm.ts')).prm),
  },
  {
    name: 'ppo',
    summary: 'proximal policy optimization against a reward model, with a critic and a KL penalty',
    group: 'Train',
    trains: true,
    load: async () => {
      const { ppo } = await import('../methods/online/ppo.ts');
      return (await import('./online-command.ts')).onlineCommand(ppo) as unknown as CommandModule;
    },
  },
  {
    name: 'raft',
    summary: 'reward-ranked fine-tuning: sample, keep the best of each prompt, imitate it (best-of-n)',
    group: 'Train',
    trains: true,
    load: async () => {
      const { raft } = await import('../methods/supervised/raft.ts');
      return (await import('./online-command.ts')).onlineCommand(raft) as unknown as CommandModule;
    },
  },
  {
    name: 'grpo',
    summary: 'group relative policy optimization: completions of a prompt compete; no critic',
    group: 'Train',
    trains: true,
    load: async () => {
      const { grpo } = await import('../methods/online/grpo.ts');
      return (await import('./online-command.ts')).onlineCommand(grpo) as unknown as CommandModule;
    },
  },
  {
    name: 'rloo',
    summary: 'REINFORCE with the other completions of the prompt as baseline, and the KL in the reward',
    group: 'Train',
    trains: true,
    load: async () => {
      const { rloo } = await import('../methods/online/rloo.ts');
      return (await import('./online-command.ts')).onlineCommand(rloo) as unknown as CommandModule;
    },
  },
  {
    name: 'reinforce-plus-plus',
    summary:
      'REINFORCE with returns whitened over the batch, with or without the group as baseline; no critic',
    group: 'Train',
    trains: true,
    load: async () => {
      const { reinforcePlusPlus } = await import('../methods/online/reinforce-plus-plus.ts');
      return (await import('./online-command.ts')).onlineCommand(
        reinforcePlusPlus,
      ) as unknown as CommandModule;
    },
  },
  {
    name: 'remax',
    summary: 'REINFORCE with the score of the likeliest completion as baseline; no critic',
    group: 'Train',
    trains: true,
    load: async () => {
      const { remax } = await import('../methods/online/remax.ts');
      return (await import('./online-command.ts')).onlineCommand(remax) as unknown as CommandModule;
    },
  },
  {
    name: 'online-dpo',
    summary: 'DPO on the policy’s own completions: the best and the worst of each prompt by a scorer',
    group: 'Train',
    trains: true,
    load: async () => {
      const { onlineDpo } = await import('../methods/online/online-dpo.ts');
      return (await import('./online-command.ts')).onlineCommand(onlineDpo) as unknown as CommandModule;
    },
  },
  {
    name: 'world',
    summary: 'write data sets of the testbed world: requests, responses and feedback whose truth is known',
    group: 'Look',
    load: async () => (await import('./commands/world.ts')).command,
  },
  {
    name: 'rollouts',
    summary: 'list the completions an online run sampled, with their rewards; one of them token by token',
    group: 'Look',
    load: async () => (await import('./commands/rollouts.ts')).command,
  },
  {
    name: 'replay',
    summary: 'take an update that a watchdog saved again, and say whether the numbers are the same',
    group: 'Look',
    load: async () => (await import('./commands/replay.ts')).command,
  },
  {
    name: 'methods',
    summary: 'list what heed can train with; one method’s metrics and configuration schema',
    group: 'Look',
    load: async () => (await import('./commands/methods.ts')).command,
  },
  {
    name: 'papers',
    summary: 'list the published papers heed is to cover, and which are built',
    group: 'Look',
    load: async () => (await import('./commands/papers.ts')).command,
  },
  {
    name: 'reproduce',
    summary: 'run an experiment that stands for a published claim, over seeds, with a verdict',
    group: 'Look',
    load: async () => (await import('./commands/reproduce.ts')).command,
  },
  {
    name: 'bench',
    summary: 'measure training and decoding against the matrix-product rate of this machine',
    group: 'Machine',
    load: async () => (await import('./commands/bench.ts')).command,
  },
  {
    name: 'generate',
    summary: 'complete prompts with a model',
    group: 'Use',
    load: async () => (await import('./commands/generate.ts')).command,
  },
  {
    name: 'chat',
    summary: 'talk with a model in the terminal',
    group: 'Use',
    load: async () => (await import('./commands/chat.ts')).command,
  },
  {
    name: 'serve',
    summary: 'answer OpenAI’s clients over HTTP: completions, chat, embeddings, reward scores',
    group: 'Use',
    load: async () => (await import('./commands/serve.ts')).command,
  },
  {
    name: 'convert',
    summary: 'write a model as a Hugging Face folder or as ONNX: from GGUF, a hub id, a folder, an adapter',
    group: 'Use',
    load: async () => (await import('./commands/convert.ts')).command,
  },
  {
    name: 'doctor',
    summary: 'check that this machine can run heed, and how fast',
    group: 'Machine',
    load: async () => (await import('./commands/doctor.ts')).command,
  },
];

async function trainModule<S extends ConfigSchema, E>(method: TrainMethod<S, E>): Promise<CommandModule> {
  return (await import('./train-command.ts')).trainCommand(method) as unknown as CommandModule;
}
