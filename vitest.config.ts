import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['src/**/*.test.ts', 'test/**/*.test.ts'],
    // Each test file compiles ONNX Runtime sessions with their own threads: two files at once use two cores.
    maxWorkers: 2,
    pool: 'forks',
    testTimeout: 60_000,
  },
});
