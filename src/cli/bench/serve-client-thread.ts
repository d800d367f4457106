/** The clients of the load test on a thread of their own. */
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { type Load, type LoadOptions, runClients } from './serve-clients.ts';

/** Runs this file as a worker. */
export function runClientsOnThread(options: LoadOptions): Promise<Load> {
  const worker = new Worker(new URL(import.meta.url), { workerData: options });
  return new Promise((resolve, reject) => {
    worker.once('message', resolve);
    worker.once('error', reject);
    worker.once('exit', (code) => reject(new Error(`the clients' thread ended with code ${code}`)));
  });
}

if (!isMainThread && parentPort !== null)
  parentPort.postMessage(await runClients(workerData as LoadOptions, () => performance.now()));
