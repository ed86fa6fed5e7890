# Teacher on CIFAR-10: WRN-28-4, 40 epochs.
_base_ = ['../_base_/models/wide_resnet.py', './_base_/runtime.py', '../_base_/schedules/cifar_40e.py']
model = dict(head=dict(num_classes=10, topk=(1,)))
