// A launch from JavaScript or TypeScript, with the plain Temporal SDK and nothing else.
//
//   cd examples/09-other-clients && npm install
//   node launch.mjs ADDRESS            (skyflow server status prints it)
import { Client, Connection } from '@temporalio/client';

const connection = await Connection.connect({ address: process.argv[2] ?? '127.0.0.1:7233' });
const client = new Client({ connection });

const launch = await client.workflow.start('LaunchWorkflow', {
  workflowId: `launch/from-node/${Date.now()}`,
  taskQueue: 'skyflow',
  args: [{ cluster: 'from-node', down: true, task: { name: 'hello', run: 'echo hello from node' } }],
});

console.log('started', launch.workflowId);
const result = await launch.result();
console.log(`job ${result.job_id} ${result.status}, nodes taken down: ${result.down}`);
const { stages } = await launch.query('progress');
console.log(stages.map((stage) => stage.name).join(' → '));
await connection.close();
