# Short CIFAR trainings: warm-up over two epochs to the authors' learning rate, then cosine annealing to 0.
optim_wrapper = dict(
    type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=5e-4, nesterov=True)
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.04, begin=0, end=2, by_epoch=True, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', begin=2, end=40, by_epoch=True, convert_to_iter_based=True),
]
train_cfg = dict(by_epoch=True, max_epochs=40, val_interval=5)
val_cfg = dict()
test_cfg = dict()
auto_scale_lr = dict(enable=False, base_batch_size=128)
