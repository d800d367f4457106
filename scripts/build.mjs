/** `npm run build`: src/ → dist/, which runs with plain node. A failed build leaves no dist/ behind. */
import { spawnSync } from 'node:child_process';
import { chmod, rename, rm, stat } from 'node:fs/promises';
import './files.mjs';

// Written beside dist/ and moved into place at once, so that a program running from dist/ never meets half of it.
const fresh = `dist.${process.pid}`;
const started = performance.now();
try {
  const { status, error } = spawnSync(
    process.execPath,
    ['node_modules/typescript/bin/tsc', '-p', 'tsconfig.build.json', '--outDir', fresh],
    { stdio: 'inherit' },
  );
  if (error !== undefined) throw error;
  await rm('dist', { recursive: true, force: true });
  if (status === 0) {
    const main = `${fresh}/cli/main.js`;
    if (await stat(main).catch(() => undefined)) await chmod(main, 0o755);
    await rename(fresh, 'dist');
    console.log(`built dist/ in ${((performance.now() - started) / 1000).toFixed(1)} s`);
  } else {
    console.error('build failed: there are type errors above; dist/ was removed');
    process.exitCode = 1;
  }
} finally {
  await rm(fresh, { recursive: true, force: true });
}
