import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { exampleReport } from '../../test/support/quickstart-report.ts';
import { CheckpointError, NumericError } from '../core/errors.ts';
import { renderReport } from './render-report.ts';
import { writeReport } from './write-report.ts';

const root = mkdtempSync(join(tmpdir(), 'heed-report-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));
const newFolder = (name: string): string => {
  mkdirSync(join(root, name));
  return join(root, name);
};

describe('writeReport', () => {
  it('writes the page in place of the old one and leaves nothing else', async () => {
    const folder = newFolder('place');
    writeFileSync(join(folder, 'report.html'), 'old');
    await writeReport(join(folder, 'report.html'), exampleReport);
    expect(readdirSync(folder)).toEqual(['report.html']);
    expect(readFileSync(join(folder, 'report.html'), 'utf8')).toBe(renderReport(exampleReport));
  });

  it('leaves the old page when the new one cannot be rendered', async () => {
    const file = join(newFolder('old'), 'report.html');
    writeFileSync(file, 'old');
    await expect(writeReport(file, { ...exampleReport, seed: Number.NaN })).rejects.toThrow(NumericError);
    expect(readFileSync(file, 'utf8')).toBe('old');
  });

  it('removes its temporary file when the page cannot take its place', async () => {
    const folder = newFolder('taken');
    // A folder that is not empty stands where the page should go.
    mkdirSync(join(folder, 'report.html', 'inside'), { recursive: true });
    const written = writeReport(join(folder, 'report.html'), exampleReport);
    await expect(written).rejects.toThrow(CheckpointError);
    await expect(written).rejects.toThrow('expected a place that can be written');
    expect(readdirSync(folder)).toEqual(['report.html']);
  });
});
