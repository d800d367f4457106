/** Weights & Biases, through its own SDK where the user has installed it. */
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { ConfigError } from '../../core/errors.ts';
import type { MetricRecord } from '../trainer/trainer.ts';
import { remoteSink } from './remote.ts';
import { type Sink, type SinkContext, splitRecord } from './sink.ts';

/** The part of @wandb/sdk that is used. */
interface Wandb {
  init(settings: object): Promise<unknown>;
  log(values: Readonly<Record<string, number>>): void;
  finish(): Promise<void>;
}

/**
 * Logs through @wandb/sdk, which reads WANDB_API_KEY, WANDB_PROJECT and the like. It is looked for where the command runs.
 *
 * @throws ConfigError when it is not installed
 */
export async function wandbSink(
  { name, configText, env, warn }: SinkContext,
  load: () => Promise<Wandb> = loadSdk,
): Promise<Sink> {
  let sdk: Wandb;
  try {
    sdk = await load();
  } catch (cause) {
    throw new ConfigError({
      where: '--report-to wandb',
      expected: 'the package @wandb/sdk',
      received: 'none that could be loaded',
      fix: 'Run npm install @wandb/sdk (the package called wandb is another project)',
      cause,
    });
  }
  await sdk.init({ project: env.WANDB_PROJECT ?? 'heed', name, config: { heed: configText } });
  return remoteSink({
    name: 'wandb',
    warn,
    async send(records: readonly MetricRecord[]) {
      for (const record of records) {
        const { step, values } = splitRecord(record);
        sdk.log({ ...Object.fromEntries(values), 'train/global_step': step });
      }
    },
    // Without it the SDK keeps the process alive.
    finish: () => sdk.finish(),
  });
}

async function loadSdk(): Promise<Wandb> {
  const path = createRequire(join(process.cwd(), 'package.json')).resolve('@wandb/sdk');
  const loaded = (await import(pathToFileURL(path).href)) as { wandb?: Wandb; default?: Wandb };
  return loaded.wandb ?? loaded.default ?? (loaded as unknown as Wandb);
}
