import { open, rename, rm } from 'node:fs/promises';
import { CheckpointError } from '../core/errors.ts';
import type { QuickstartReport } from './quickstart-report.ts';
import { renderReport } from './render-report.ts';

/**
 * Renders a report into `file`, under a temporary name first: a reader sees the old page or the new one, never half.
 *
 * @throws what `renderReport` throws, before anything is written; CheckpointError when the file cannot be written
 */
export async function writeReport(file: string, report: QuickstartReport): Promise<void> {
  const page = renderReport(report);
  const temporary = `${file}.${process.pid}.tmp`;
  try {
    const handle = await open(temporary, 'w');
    try {
      await handle.writeFile(page);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(temporary, file);
  } catch (cause) {
    await rm(temporary, { force: true });
    throw new CheckpointError({
      where: file,
      expected: 'a place that can be written',
      received: cause instanceof Error ? cause.message : String(cause),
      fix: 'Check the folder, its permissions and the free space',
      cause,
    });
  }
}
