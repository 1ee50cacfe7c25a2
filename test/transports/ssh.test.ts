import { afterAll, beforeAll } from 'vitest'
import { type Sshd, startSshd } from '../harness/sshd.js'
import { imagePathTests } from './imagePath.js'
let sshd: Sshd
beforeAll(async () => { sshd = await startSshd() })
afterAll(() => sshd.stop())
const ssh = () => ({ hosts: [`127.0.0.1:${sshd.port}`], username: 'root', keyFile: sshd.keyFile, knownHosts: sshd.knownHosts })
imagePathTests('ssh', (site) => ({ ...site, config: { ...site.config, systems: { test: { ...site.config.systems.test, ssh: ssh() } } } }))
