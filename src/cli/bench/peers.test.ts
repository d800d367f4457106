import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { tinyConfig } from '../../../test/support/tiny-model.ts';
import { createRng } from '../../core/rng.ts';
import { buildModel } from '../../models/registry.ts';
import { allocateParameters, initialize } from '../../nn/parameters.ts';
import type { PeerTask } from './generate.ts';
import { runPeers } from './peers.ts';

let place: string;
let task: PeerTask;
const script = (name: string, text: string): string => {
  writeFileSync(join(place, name), text);
  return `${process.execPath} ${join(place, name)}`;
};

beforeAll(() => {
  place = mkdtempSync(join(tmpdir(), 'heed-peers-'));
  const parameters = allocateParameters(buildModel(tinyConfig).parameters);
  initialize(parameters, createRng(0));
  task = { config: tinyConfig, parameters, batches: [1, 8], promptTokens: 16, newTokens: 64, repeats: 3 };
});
afterAll(() => rmSync(place, { recursive: true }));

describe('runPeers', () => {
  it('gives each command the model and what to measure, and reads its last line', async () => {
    const seen = join(place, 'seen.json');
    const peer = script(
      'peer.cjs',
      `const { existsSync, writeFileSync } = require('node:fs');
       const folder = process.argv[process.argv.indexOf('--model') + 1];
       const words = process.argv.slice(2).filter((word) => word !== folder);
       writeFileSync(${JSON.stringify(seen)}, JSON.stringify([words, existsSync(folder + '/model.safetensors')]));
       console.log('noise');
       console.log(JSON.stringify({ name: 'p', tokensPerSecond: { 1: 2, 8: 3 } }));`,
    );
    expect(await runPeers([peer, peer], task, 2)).toEqual(
      [0, 1].map(() => ({ name: 'p', tokensPerSecond: { 1: 2, 8: 3 } })),
    );
    expect(JSON.parse(readFileSync(seen, 'utf8'))).toEqual([
      '--model --batches 1,8 --prompt 16 --new-tokens 64 --repeats 3 --threads 2'.split(' '),
      true,
    ]);
  });
  it('names the command that fails, prints something else or is not there', async () => {
    const failing = script('failing.cjs', `console.error('no torch here'); process.exit(3);`);
    await expect(runPeers([failing], task, 2)).rejects.toThrow(/failing\.cjs.*exit code 3\s+no torch here/s);
    const wrong = script('wrong.cjs', `console.log('{"name": "p", "tokensPerSecond": {"1": -1}}')`);
    await expect(runPeers([wrong], task, 2)).rejects.toThrow(/wrong\.cjs.*-1/s);
    await expect(runPeers(['no-such-program'], task, 2)).rejects.toThrow(/no-such-program.*ENOENT/s);
  });
});
