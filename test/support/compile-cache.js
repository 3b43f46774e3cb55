// Loaded before each test file: from the second process on, Node neither strips types nor compiles what an earlier one has loaded.
import { enableCompileCache } from 'node:module'

enableCompileCache()
